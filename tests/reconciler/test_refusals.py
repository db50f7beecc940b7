"""What was refused is not asked again of a room that has only shrunk."""

from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import request
from grovekeeper.reconciler.refusals import FRESH_SECONDS, Refusals, Token, watched

ROOM, MORE_ROOM = (7, 0, 0), (8, 0, 0)


def ask(name: str = "one", cpu: str = "1", **more: Any) -> request.GangAsk:
    spec = {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}], **more.pop("spec", {})}
    pods = tuple(request.PodAsk(f"{name}-{number}", f"{name}-{number}", spec) for number in range(2))
    return request.GangAsk("ns", name, (request.GroupAsk(f"{name}-c", pods, 2),), **more)


def refused(*asked: request.GangAsk, token: Token = ROOM) -> Refusals:
    known = Refusals()
    for each in asked:
        known.note(known.question(each.name, each, token, 0.0), f"{each.name} does not fit")
    return known


def recall(known: Refusals, name: str, asked: request.GangAsk, token: Token, now: float = 1.0) -> str | None:
    return known.question(name, asked, token, now).answer


def test_the_same_question_gets_the_same_answer_until_room_is_made_or_the_words_are_old() -> None:
    known = refused(ask())
    assert recall(known, "one", ask(), ROOM, 1.0) == "one does not fit"
    assert recall(known, "one", ask(), MORE_ROOM, 1.0) is None
    assert recall(known, "one", ask(), (7, 1, 0), 1.0) is None, "somebody came who could be evicted"
    assert recall(known, "one", ask(), ROOM, FRESH_SECONDS) is None


@pytest.mark.parametrize(
    "other", [ask(cpu="2"), ask(priority=1), ask(closed=frozenset("n")), ask(fixed={"p": ("c", "n")}), ask(near=("n",))]
)
def test_another_question_is_asked(other: request.GangAsk) -> None:
    assert recall(refused(ask()), "one", other, ROOM) is None


def test_a_gang_like_one_that_was_refused_by_the_new_room_is_refused_in_its_own_words() -> None:
    known = refused(ask("one"), ask("two"))
    known.note(known.question("one", ask("one"), MORE_ROOM, 1.0), "one does not fit, again")
    assert recall(known, "two", ask("two"), MORE_ROOM, 1.0) == "two does not fit"
    assert recall(known, "three", ask("three"), MORE_ROOM, 1.0) is None, "it has no words of its own yet"


def test_gangs_of_different_kinds_do_not_answer_for_each_other() -> None:
    known = refused(ask("one"), ask("two", cpu="2"))
    known.note(known.question("one", ask("one"), MORE_ROOM, 1.0), "again")
    assert recall(known, "two", ask("two", cpu="2"), MORE_ROOM, 1.0) is None


def test_a_gang_with_pods_on_nodes_is_a_kind_of_its_own() -> None:
    fixed = {"p": ("c", "n")}
    known = refused(ask("one", fixed=fixed), ask("two", fixed=fixed))
    known.note(known.question("one", ask("one", fixed=fixed), MORE_ROOM, 1.0), "again")
    assert recall(known, "two", ask("two", fixed=fixed), MORE_ROOM, 1.0) is None


def affine(kind: str = "podAffinity", **term: Any) -> request.GangAsk:
    found = {"topologyKey": "rack", "labelSelector": {"matchLabels": {"app": "x"}}, **term}
    return ask(spec={"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [found]}}})


def test_who_looks_at_other_pods_is_asked_again_when_something_has_changed_among_them() -> None:
    choosy = affine()
    assert recall(refused(choosy), "one", choosy, ROOM) == "one does not fit"
    assert recall(refused(choosy), "one", choosy, (7, 0, 1)) is None, "the peer that it waits for may have come"


def test_who_looks_at_other_pods_answers_for_nobody_else() -> None:
    two = replace(affine(), name="two")
    known = refused(affine(), two)
    known.note(known.question("one", affine(), MORE_ROOM, 1.0), "one does not fit, again")
    assert recall(known, "two", two, MORE_ROOM, 1.0) is None


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        (ask(), frozenset()),
        (ask(spec={"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}), frozenset()),
        (affine(), frozenset({"ns"})),
        (affine("podAntiAffinity", namespaces=["a", "b"]), frozenset({"a", "b"})),
        (affine(namespaces=["a"], namespaceSelector={}), None),
    ],
    ids=["nobody", "a wish", "its own", "named", "selected"],
)
def test_the_namespaces_at_whose_pods_a_gang_looks(asked: request.GangAsk, want: frozenset[str] | None) -> None:
    assert watched(asked) == want


def test_a_gang_that_was_placed_is_forgotten() -> None:
    known = refused(ask())
    known.note(known.question("one", ask(), MORE_ROOM, 1.0), None)
    assert recall(known, "one", replace(ask()), ROOM, 1.0) is None
