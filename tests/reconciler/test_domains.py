"""ComputeDomains: they follow the set, come back, and never hang on our finalizer."""

from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import resources
from tests.reconciler import world

DOMAINS = resources.COMPUTE_DOMAINS
GROUP = "grove.io/mnnvl-group"


def asking(kind: str = names.PODCLIQUESET, replicas: int = 1, **metadata: Any) -> raw.Object:
    """The set of tests.reconciler.world; `front` and `lead` use GPUs, `lead` is in a group of its own."""
    obj = world.podset(kind, replicas=replicas)
    front, lead, _ = obj["spec"]["template"]["cliques"]
    for clique in (front, lead):
        clique["spec"]["podSpec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "4"}}
    lead["annotations"] = {GROUP: "own"}
    obj["metadata"]["annotations"] = {GROUP: "all", **metadata}
    return obj


async def running(obj: raw.Object | None = None, *, auto_mnnvl: bool = True) -> world.World:
    here = world.World(auto_mnnvl=auto_mnnvl)
    await here.apply(obj or asking())
    await here.settle()
    await here.start()
    await here.advance(10)
    return here


def domains(here: world.World) -> list[str]:
    return here.names(DOMAINS)


@pytest.mark.parametrize("kind", [names.PODGANGSET, names.PODCLIQUESET])
async def test_domains_follow_the_replicas_of_a_set_to_zero_and_back(kind: str) -> None:
    here = await running(asking(kind))
    for count in (3, 1, 0, 2):
        await here.apply(asking(kind, replicas=count))
        await here.settle()
        await here.finish()
        await here.start()
        await here.advance(5)
        assert domains(here) == [f"demo-{i}-{group}" for i in range(count) for group in ("all", "own")]


async def test_a_set_made_again_waits_for_the_domains_of_the_old_one_and_comes_when_they_are_gone() -> None:
    here = await running()
    driver = "resource.nvidia.com/computeDomain"
    for name in domains(here):
        held = here.get(DOMAINS, name)["metadata"]["finalizers"]
        await here.edit(DOMAINS, name, {"metadata": {"finalizers": [*held, driver]}})
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    here.see()
    await here.apply(asking())
    await here.advance(5)
    await here.finish()
    await here.advance(5)
    assert here.names(resources.PODCLIQUES) == [], "the driver still takes the old domains down"
    for name in domains(here):
        await here.edit(DOMAINS, name, {"metadata": {"finalizers": None}})
    await here.advance(2)
    mine = here.get(resources.PODCLIQUESETS, "demo")["metadata"]["uid"]
    assert len(here.pods()) == 8
    assert {here.get(DOMAINS, name)["metadata"]["ownerReferences"][0]["uid"] for name in domains(here)} == {mine}


async def test_a_domain_is_there_before_its_pods_and_goes_after_the_last_of_them() -> None:
    here = world.World(auto_mnnvl=True)

    def note(plural: str, obj: raw.Object) -> None:
        if plural == "pods":
            claims = obj["spec"].get("resourceClaims") or ()
            assert {entry["resourceClaimTemplateName"] for entry in claims} <= set(domains(here))

    here.api.refuse = note  # type: ignore[assignment]  # nothing is refused, only looked at
    await here.apply(asking(replicas=2))
    await here.settle()
    await here.start()
    await here.advance(5)
    assert sum(1 for pod in here.pods() if pod["spec"].get("resourceClaims")) == 2 * (2 + 2)
    await here.apply(asking(replicas=1))
    await here.advance(5)
    assert domains(here) == ["demo-0-all", "demo-0-own", "demo-1-all", "demo-1-own"], "pods still end"
    await here.finish()
    await here.advance(1)
    assert domains(here) == ["demo-0-all", "demo-0-own"]


async def test_a_set_at_rest_writes_nothing() -> None:
    here = await running()
    before = here.api.calls.copy()
    for kind in ("set", "devices"):
        await here.run(f"{kind}:{names.PODCLIQUESET}:ns/demo")
    await here.advance(5)
    assert here.api.calls == before


async def test_a_domain_deleted_by_hand_comes_back_and_an_event_says_what_that_means() -> None:
    here = await running()
    old = here.get(DOMAINS, "demo-0-all")["metadata"]["uid"]
    await here.api.delete(DOMAINS, "demo-0-all", "ns")
    await here.settle()
    assert domains(here) == ["demo-0-all", "demo-0-own"]
    assert here.get(DOMAINS, "demo-0-all")["metadata"]["uid"] != old
    assert any(
        reason == "ComputeDomainDeleted" and "bring all together" in text for _, reason, text in here.events.said
    )


async def test_the_drivers_own_finalizer_is_waited_for_and_kept() -> None:
    here = await running()
    both = [names.FINALIZER_COMPUTEDOMAIN, "resource.nvidia.com/computeDomain"]
    await here.edit(DOMAINS, "demo-0-all", {"metadata": {"finalizers": both}})
    await here.api.delete(DOMAINS, "demo-0-all", "ns")
    await here.settle()
    going = here.get(DOMAINS, "demo-0-all")["metadata"]
    assert going["finalizers"] == ["resource.nvidia.com/computeDomain"]
    runs = here.runs.copy()
    await here.advance(20)
    assert here.runs["devices"] == runs["devices"], "no polling"
    await here.edit(DOMAINS, "demo-0-all", {"metadata": {"finalizers": None}})
    await here.settle()
    assert here.get(DOMAINS, "demo-0-all")["metadata"]["uid"] != going["uid"]


@pytest.mark.parametrize("auto_mnnvl", [True, False])
async def test_a_deleted_set_leaves_no_domain_whether_the_feature_is_on_or_not(auto_mnnvl: bool) -> None:
    here = await running()
    here.ctx.settings.auto_mnnvl = auto_mnnvl
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.settle()
    assert domains(here) == []


async def test_a_domain_that_the_collector_marked_while_we_were_away_is_let_go_at_the_start() -> None:
    here = await running()
    del here.api.of("podcliquesets")["ns", "demo"]
    await here.api.delete(DOMAINS, "demo-0-all", "ns")
    here.api.changes.clear()
    here.work.due.clear()
    # A new process lists what is there.
    fresh = world.World()
    fresh.api.objects, here.api.objects = here.api.objects, {}
    fresh.api.changes = [("computedomains", None, each) for each in fresh.api.of("computedomains").values()]
    fresh.api._numbers = here.api._numbers
    await fresh.settle()
    assert "demo-0-all" not in domains(fresh)


async def test_a_domain_that_was_left_behind_on_purpose_is_let_go_when_somebody_deletes_it() -> None:
    here = await running()
    await here.edit(DOMAINS, "demo-0-all", {"metadata": {"ownerReferences": None}})
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.settle()
    assert domains(here) == ["demo-0-all"]
    await here.api.delete(DOMAINS, "demo-0-all", "ns")
    await here.settle()
    assert "demo-0-all" not in domains(here)


async def test_with_the_feature_off_nothing_is_made_and_what_is_there_is_honoured_until_it_goes() -> None:
    here = await running(auto_mnnvl=False)
    assert domains(here) == []
    assert not any(pod["spec"].get("resourceClaims") for pod in here.pods())
    here = await running()
    here.ctx.settings.auto_mnnvl = False
    await here.apply(asking(replicas=2))
    await here.settle()
    assert domains(here) == ["demo-0-all", "demo-0-own"]
    joined = {pod["spec"]["subdomain"] for pod in here.pods() if pod["spec"].get("resourceClaims")}
    assert joined == {"demo-0"}
    first = here.pods("demo-0-front")[0]
    await here.api.delete(resources.PODS, first["metadata"]["name"], "ns", grace=0)
    await here.settle()
    assert all(pod["spec"].get("resourceClaims") for pod in here.pods("demo-0-front")), "a successor joins its siblings"
    await here.apply(asking(replicas=0))
    await here.settle()
    await here.finish()
    await here.advance(1)
    assert domains(here) == []


async def test_without_the_driver_a_set_that_asks_says_so_and_others_run() -> None:
    here = world.World(auto_mnnvl=True)
    here.ctx.stores.domains.served = False
    await here.apply(asking())
    await here.apply(world.podset(name="plain"))
    await here.advance(5)
    stalled = world.condition(here.get(resources.PODCLIQUESETS, "demo"), "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "ComputeDomainsNotServed"
    assert "install NVIDIA's DRA driver" in stalled["message"]
    assert len(here.pods()) == 8
    here.ctx.stores.domains.served = True
    await here.advance(31)
    assert domains(here) == ["demo-0-all", "demo-0-own"]
