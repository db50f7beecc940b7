"""Shared ResourceClaims: there before the pods, gone after them, at all three levels."""

import copy
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from tests.reconciler import world

CLAIMS = resources.RESOURCE_CLAIMS
SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}}


def share(name: str, scope: str, **more: Any) -> raw.Object:
    return {"name": name, "scope": scope, **more}


def shared(kind: str = names.PODCLIQUESET, replicas: int = 1, front: str = "own", **more: Any) -> raw.Object:
    """The set of tests.reconciler.world with claims of both scopes at each level."""
    obj = world.podset(
        kind,
        replicas=replicas,
        resourceClaimTemplates=[{"name": "own", "templateSpec": {"spec": SPEC}}],
        resourceSharing=[share("own", "PerReplica"), *more.get("of_set", ())],
    )
    template = obj["spec"]["template"]
    template["cliques"][0]["resourceSharing"] = [share(front, "PerReplica")]
    template["podCliqueScalingGroups"][0]["resourceSharing"] = [
        share("own", "PerReplica"),
        share(more.get("group_all", "second"), "AllReplicas"),
    ]
    template["resourceClaimTemplates"].append({"name": "second", "templateSpec": {"spec": SPEC}})
    return obj


async def running(obj: raw.Object) -> world.World:
    here = world.World()
    await here.apply(obj)
    await here.settle()
    await here.start()
    await here.advance(10)
    return here


def template(name: str, namespace: str = "ns") -> raw.Object:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"metadata": {"labels": {"from": name}}, "spec": SPEC},
    }


def the_set(here: world.World, kind: str = names.PODCLIQUESET) -> raw.Object:
    plural = names.DIALECTS[kind].plural
    return here.api.of(plural)["ns", "demo"]


ONE = [
    "demo-0-front-0-own",
    "demo-0-front-1-own",
    "demo-0-own",
    "demo-0-pool-0-own",
    "demo-0-pool-1-own",
    "demo-0-pool-all-second",
]


@pytest.mark.parametrize("kind", [names.PODGANGSET, names.PODCLIQUESET])
async def test_each_level_makes_its_claims_before_what_names_them(kind: str) -> None:
    here = world.World()
    order: list[tuple[str, str]] = []

    def note(plural: str, obj: raw.Object) -> None:
        order.append((plural, obj["metadata"]["name"]))
        if plural == "pods":
            made = {name for each, name in order if each == "resourceclaims"}
            assert {entry["resourceClaimName"] for entry in obj["spec"]["resourceClaims"]} <= made

    here.api.refuse = note  # type: ignore[assignment]  # nothing is refused, only noted
    await here.apply(shared(kind))
    await here.settle()
    assert here.names(CLAIMS) == ONE
    assert len(here.pods()) == 8


async def test_a_set_at_rest_writes_nothing() -> None:
    here = await running(shared())
    before = here.api.calls.copy()
    await here.run(f"set:{names.PODCLIQUESET}:ns/demo")
    await here.run(f"devices:{names.PODCLIQUESET}:ns/demo")
    await here.run("group:ns/demo-0-pool")
    for clique in here.names(resources.PODCLIQUES):
        await here.run(f"clique:ns/{clique}")
    await here.advance(5)
    assert here.api.calls == before


async def test_claims_follow_the_set_up_and_down_and_go_after_the_last_pod_that_names_them() -> None:
    here = await running(shared())
    await here.apply(shared(replicas=2))
    await here.settle()
    assert here.names(CLAIMS) == sorted([*ONE, *(name.replace("demo-0", "demo-1") for name in ONE)])
    await here.start()
    await here.advance(5)
    await here.apply(shared(replicas=1))
    await here.advance(5)
    leaving = [pod for pod in here.pods() if "deletionTimestamp" in pod["metadata"]]
    assert len(leaving) == 8
    assert "demo-1-own" in here.names(CLAIMS), "its pods still end"
    await here.finish()
    await here.advance(1)
    assert here.names(CLAIMS) == ONE


async def test_claims_follow_a_group_up_and_down_to_zero_and_back() -> None:
    here = await running(shared())
    for count, want in ((3, ["0", "1", "2"]), (1, ["0"]), (0, []), (2, ["0", "1"])):
        await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": count}})
        await here.settle()
        await here.finish()
        await here.start()
        await here.advance(5)
        found = [name for name in here.names(CLAIMS) if name.startswith("demo-0-pool-")]
        assert found == [*(f"demo-0-pool-{j}-own" for j in want), "demo-0-pool-all-second"]


async def test_a_pod_above_the_count_of_its_clique_keeps_its_claim() -> None:
    """On scale-in victims are chosen by state: the pod that stays may have the higher index."""
    here = await running(shared())
    first, _ = here.pods("demo-0-front")
    await here.mark(first, ready=False)
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 1}})
    await here.settle()
    await here.finish()
    await here.advance(5)
    (left,) = here.pods("demo-0-front")
    assert left["spec"]["hostname"] == "demo-0-front-1"
    assert [name for name in here.names(CLAIMS) if "front" in name] == ["demo-0-front-1-own"]


async def test_a_claim_that_somebody_deletes_is_made_again() -> None:
    here = await running(shared())
    for name in ("demo-0-own", "demo-0-pool-1-own", "demo-0-front-0-own"):
        await here.api.delete(CLAIMS, name, "ns")
    await here.settle()
    assert here.names(CLAIMS) == ONE


async def test_labels_are_put_right_and_specs_never_touched() -> None:
    here = await running(shared())
    live = here.get(CLAIMS, "demo-0-own")
    spoilt = {**live, "metadata": {**live["metadata"], "labels": {"app.kubernetes.io/part-of": "demo"}}}
    here.api._put("resourceclaims", {**spoilt, "spec": {"devices": {"requests": ["theirs"]}}})
    here.see()
    await here.run(f"devices:{names.PODCLIQUESET}:ns/demo")
    found = here.get(CLAIMS, "demo-0-own")
    assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "resource-claim"
    assert found["spec"] == {"devices": {"requests": ["theirs"]}}


async def test_a_set_waits_for_a_template_says_so_and_goes_on_when_it_appears() -> None:
    here = world.World()
    await here.apply(shared(of_set=[share("theirs", "AllReplicas", namespace="infra")]))
    await here.advance(5)
    assert here.names(resources.PODCLIQUES) == []
    stalled = world.condition(the_set(here), "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "ResourceClaimTemplateNotFound"
    assert "ResourceClaimTemplate infra/theirs does not exist" in stalled["message"]
    assert "create it" in stalled["message"]
    assert [said[1] for said in here.events.said] == ["ResourceClaimTemplateNotFound"]
    here.work.due.clear()  # not by the net, but by the event
    await here.api.create(resources.RESOURCE_CLAIM_TEMPLATES, template("theirs", "infra"))
    await here.settle()
    await here.start()
    await here.advance(5)
    assert len(here.pods()) == 8
    assert here.get(CLAIMS, "demo-all-theirs")["metadata"]["labels"]["from"] == "theirs"
    assert world.condition(the_set(here), "Stalled") is None


async def test_replicas_that_have_their_claims_run_on_while_others_wait_for_a_template() -> None:
    theirs = [share("theirs", "PerReplica")]
    here = world.World()
    await here.api.create(resources.RESOURCE_CLAIM_TEMPLATES, template("theirs"))
    await here.apply(shared(of_set=theirs))
    await here.settle()
    await here.start()
    await here.api.delete(resources.RESOURCE_CLAIM_TEMPLATES, "theirs", "ns")
    await here.advance(5)
    await here.apply(shared(replicas=2, of_set=theirs))
    await here.advance(5)
    assert {name.split("-")[1] for name in here.names(resources.PODCLIQUES)} == {"0"}
    assert len(here.pods()) == 8
    here.work.due.clear()
    await here.api.create(resources.RESOURCE_CLAIM_TEMPLATES, template("theirs"))
    await here.settle()
    assert len(here.pods()) == 16


async def test_groups_and_cliques_make_only_what_has_its_claims() -> None:
    here = world.World()
    for name in ("of-group", "of-clique"):
        await here.api.create(resources.RESOURCE_CLAIM_TEMPLATES, template(name))
    obj = shared(front="of-clique")
    obj["spec"]["template"]["podCliqueScalingGroups"][0]["resourceSharing"][0] = share("of-group", "PerReplica")
    await here.apply(obj)
    await here.settle()
    await here.start()
    for name in ("of-group", "of-clique"):
        await here.api.delete(resources.RESOURCE_CLAIM_TEMPLATES, name, "ns")
    await here.advance(5)
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 3}})
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 4}})
    await here.advance(5)
    assert "demo-0-pool-2-lead" not in here.names(resources.PODCLIQUES)
    assert len(here.pods("demo-0-front")) == 2
    texts = [entry["description"] for entry in the_set(here)["status"]["lastErrors"]]
    assert {text.partition(":")[0] for text in texts} == {"PodCliqueScalingGroup demo-0-pool", "PodClique demo-0-front"}
    here.work.due.clear()
    for name in ("of-group", "of-clique"):
        await here.api.create(resources.RESOURCE_CLAIM_TEMPLATES, template(name))
    await here.settle()
    assert "demo-0-pool-2-lead" in here.names(resources.PODCLIQUES)
    assert len(here.pods("demo-0-front")) == 4
    assert not the_set(here)["status"].get("lastErrors")


async def test_a_clique_made_again_waits_for_the_claims_of_the_old_one_and_nothing_spins() -> None:
    here = await running(shared())
    await here.api.delete(resources.PODCLIQUES, "demo-0-front", "ns")
    here.see()
    await here.settle()
    before = here.runs.copy()
    await here.advance(3)
    assert here.runs["clique"] - before["clique"] < 10
    await here.finish()
    await here.advance(5)
    await here.start()
    await here.advance(5)
    assert len(here.pods("demo-0-front")) == 2
    owner = here.get(resources.PODCLIQUES, "demo-0-front")["metadata"]["uid"]
    for name in ("demo-0-front-0-own", "demo-0-front-1-own"):
        assert here.get(CLAIMS, name)["metadata"]["ownerReferences"][0]["uid"] == owner


async def test_a_set_made_again_waits_for_the_claims_of_the_old_one_and_comes_when_they_are_gone() -> None:
    here = await running(shared(replicas=2))
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    here.see()
    await here.apply(shared(replicas=2))
    await here.advance(5)
    mine = the_set(here)["metadata"]["uid"]
    assert all(plan.terminating(pod) for pod in here.pods()), "nothing is made beside claims that go"
    assert here.names(resources.PODCLIQUES) == []
    await here.finish()
    await here.settle()  # by the event, not by the net
    await here.start()
    await here.advance(5)
    assert len(here.pods()) == 16
    assert len(here.names(CLAIMS)) == 2 * len(ONE)
    for name in ("demo-0-own", "demo-1-own"):
        assert here.get(CLAIMS, name)["metadata"]["ownerReferences"][0]["uid"] == mine


async def test_a_claim_of_somebody_else_is_left_alone_and_named() -> None:
    here = world.World()
    await here.api.create(CLAIMS, {"kind": "ResourceClaim", "metadata": {"name": "demo-0-own", "namespace": "ns"}})
    await here.apply(shared())
    await here.advance(5)
    stalled = world.condition(the_set(here), "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "NameCollision"
    assert here.names(resources.PODCLIQUES) == []
    assert "labels" not in here.get(CLAIMS, "demo-0-own")["metadata"]


async def test_without_dra_a_set_that_shares_says_so_and_others_run() -> None:
    here = world.World()
    here.ctx.stores.claims.served = False
    await here.apply(shared())
    await here.apply(world.podset(name="plain"))
    await here.advance(5)
    stalled = world.condition(the_set(here), "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "ResourceClaimsNotServed"
    assert len(here.pods()) == 8


async def test_a_deleted_set_leaves_no_claims() -> None:
    here = await running(shared(replicas=2))
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.advance(2)
    await here.finish()
    await here.advance(2)
    assert here.names(CLAIMS) == []


async def test_a_refusal_of_the_server_is_noted() -> None:
    here = world.World()
    here.api.refuse = lambda plural, _obj: errors.Forbidden("quota") if plural == "resourceclaims" else None
    await here.apply(copy.deepcopy(shared()))
    await here.advance(5)
    stalled = world.condition(the_set(here), "Stalled")
    assert stalled is not None
    assert (stalled["reason"], "quota" in stalled["message"]) == ("Forbidden", True)
