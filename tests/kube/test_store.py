"""The cache of one kind: what it keeps, in which order of news, and whom it wakes."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from grovekeeper.api import raw
from grovekeeper.kube import store

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["observe", "gone"]), st.sampled_from("pq"), st.sampled_from("ab"), st.integers(1, 9)
        ),
        st.tuples(st.just("list"), st.sampled_from(["", "p", "pq"]), st.sampled_from("ab"), st.integers(1, 9)),
    ),
    max_size=12,
)


def pod(uid: str, version: int, name: str = "p") -> raw.Object:
    return {"metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}}


def by_uid(obj: raw.Object) -> list[str]:
    return [obj["metadata"]["uid"], "all"]


@given(STEPS)
def test_whatever_comes_in_the_indexes_have_what_the_cache_has_and_no_object_goes_back_in_time(
    steps: list[tuple[str, str, str, int]],
) -> None:
    kept = store.Store({"uid": by_uid})
    seen: dict[str, int] = {}
    for what, name, uid, version in steps:
        if what == "observe":
            kept.observe(pod(uid, version, name))
        elif what == "gone":
            kept.observe_deleted(pod(uid, version, name))
        else:
            kept.replace([pod(uid, version, each) for each in name], version)
        there = {obj["metadata"]["name"]: obj for obj in kept.all()}
        assert {obj["metadata"]["name"]: obj for obj in kept.by_index("uid", "all")} == there
        for mark in "ab":
            mine = [obj for obj in there.values() if obj["metadata"]["uid"] == mark]
            assert sorted(map(str, kept.by_index("uid", mark))) == sorted(map(str, mine))
        for each, obj in there.items():
            assert store.version_of(obj) >= seen.get(each, 0)
        seen = {each: store.version_of(obj) for each, obj in there.items()}


def test_an_answer_that_comes_after_a_list_without_its_object_revives_nothing() -> None:
    kept = store.Store()
    kept.observe(pod("a", 5))
    kept.replace([], 9)
    kept.observe(pod("a", 7))
    assert kept.all() == []
    kept.observe(pod("b", 11))
    assert kept.get("ns", "p") == pod("b", 11)


def test_a_kind_that_went_and_came_back_is_followed_again() -> None:
    kept = store.Store()
    kept.observe(pod("a", 5))
    kept.replace([], 5)
    kept.replace([pod("a", 5)], 9)
    kept.observe(pod("a", 10))
    assert kept.all() == [pod("a", 10)]


async def test_who_has_waited_in_vain_for_a_version_is_not_remembered() -> None:
    kept = store.Store()
    assert not await kept.reached(5, 0.001)
    assert kept._waiting == []
    job = asyncio.create_task(kept.reached(5, 5))
    await asyncio.sleep(0)
    kept.advance(5)
    assert await job
