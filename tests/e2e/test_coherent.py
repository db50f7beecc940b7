"""Coherent updates on both targets: whole set replicas, surge, scaling and changes in the middle, and the way back."""

import copy
import itertools
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.e2e import recorder, statuses
from tests.e2e.recorder import Recorder, follow
from tests.e2e.test_updates import ALL, finished, replicas_of, seen, updated, updating
from tests.e2e.world import Object, World, is_ready, is_updated, uids

pytestmark = pytest.mark.slow
_VALUES = itertools.count(1)
REVISIONS = "/apis/apps/v1"


def coherent(**more: object) -> dict[str, object]:
    return {"updateStrategy": {"type": "Coherent", **more}}


def up(world: World, obj: Object, pods: int, nodes: int) -> Object:
    world.add_nodes(nodes)
    world.apply(obj)
    world.wait_pods(pods, pods, 60)
    world.wait(lambda: quiet(world), "the set to be at rest", 60)
    return obj


def test_all_cliques_of_a_replica_move_together_and_one_replica_at_a_time(world: World) -> None:
    obj = up(world, small(world, 2), 10, 10)
    before = places(world)

    def fault(pods: Sequence[Object]) -> str:
        mixed = [index for index in range(2) if len({is_updated(pod) for pod in serving(pods, index)}) > 1]
        if mixed:
            return f"replicas {mixed} run old and new pods"
        return "" if whole(pods) else "both replicas are missing"

    follow(world, lambda: world.apply(changed(obj, *ALL)), fault, lambda: finished(world, 10, 2), 90)
    assert places(world) == before, "every pod is where the one of its name was"
    assert updated(world.pods())


def test_max_unavailable_counts_set_replicas(world: World) -> None:
    obj = up(world, small(world, 3, **coherent(maxUnavailable=2)), 15, 15)
    sets = Recorder(world, "podgangsets")
    most = 0

    def end() -> bool:
        nonlocal most
        most = max(most, *(len(updating(found)) for (found,) in sets.look()), 0)
        return finished(world, 15, 3)

    fault = lambda pods: "" if whole(pods) else "three replicas are missing"  # noqa: E731
    follow(world, lambda: world.apply(changed(obj, "pc-a")), fault, end, 90)
    assert most == 2


def test_max_surge_runs_an_extra_replica_while_none_may_be_missing(world: World) -> None:
    obj = up(world, small(world, 2, **coherent(maxUnavailable=0, maxSurge=1)), 10, 15)
    extra: set[int] = set()

    def fault(pods: Sequence[Object]) -> str:
        extra.update(whole(pods))
        return "" if len(whole(pods)) >= 2 else "a replica is missing"

    follow(world, lambda: world.apply(changed(obj, *ALL)), fault, lambda: finished(world, 10, 2), 90)
    assert 2 in extra, "there was a third one for a while"
    assert not mine(world, 2), "the extra replica goes when the update ends"


def test_scaling_in_the_middle_of_a_coherent_update_ends_with_what_was_asked_for(world: World) -> None:
    obj = up(world, small(world, 2), 10, 18)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: begun(world), "the update to begin")
    world.scale("podgangsets", "w", 3)
    world.scale("podcliques", "w-1-pc-a", 3)
    world.wait(lambda: finished(world, 16, 3), "three replicas up to date", 90)
    assert updated(world.pods())
    assert len(mine(world, 1)) == 6


def test_a_change_in_the_middle_of_a_coherent_update_ends_at_the_newest(world: World) -> None:
    obj = up(world, small(world, 2), 10, 10)
    before = places(world)
    first = changed(obj, *ALL)
    world.apply(first)
    world.wait(lambda: begun(world), "the update to begin")
    second = changed(first, "pc-b")
    world.apply(second)
    world.wait(lambda: finished(world, 10, 2), "the end of the second update", 90)
    assert triggers(world.pods("pc-b")) == wanted(second, "pc-b")
    assert triggers(world.pods("pc-a")) == wanted(first, "pc-a")
    assert places(world) == before


def test_an_unsatisfiable_coherent_update_says_so_after_its_deadline_and_is_taken_back(world: World) -> None:
    obj = up(world, small(world, 2, **coherent(progressDeadlineSeconds=60), terminationDelay="10s"), 10, 10)
    before, old = places(world), uids(mine(world, 1))
    worse = changed(obj, "pc-a")
    worse["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["nodeSelector"]["no"] = "where"
    world.apply(worse)
    world.wait(lambda: len(mine(world, 0)) == 5 and not any(map(has_node, mine(world, 0))), "the replica to go")
    world.stays(lambda: begun(world) and not running(world, 0), "it waits", 3)
    world.advance(70)
    world.wait(lambda: condition(world, "Progressing")[1] == "ProgressDeadlineExceeded", "the deadline to pass", 40)
    assert condition(world, "Progressing")[0] == "False"
    assert condition(world, "Stalled")[0] == "True"
    assert uids(running(world, 1)) == old, "the other replica runs on"
    world.apply(obj)
    world.wait(lambda: finished(world, 10, 2), "everything to be as it was", 90)
    assert places(world) == before
    assert uids(running(world, 1)) == old, "it never had to move"
    world.wait(lambda: condition(world, "Progressing")[1] == "UpdateComplete", "the condition to follow")


@pytest.mark.parametrize("strategy", ["RollingRecreate", "Coherent", "OnDelete"])
def test_a_paused_update_waits_and_goes_on_when_it_may(world: World, strategy: str) -> None:
    obj = up(world, small(world, 2, updateStrategy={"type": strategy, "paused": True}), 10, 10)
    before = uids(world.pods())
    obj = changed(obj, *ALL)
    world.apply(obj)
    seen(world)
    world.wait(lambda: condition(world, "Progressing")[1] == "UpdatePaused", "the condition to say so")
    world.stays(lambda: uids(world.pods()) == before, "nothing is replaced", 2)
    obj["spec"]["updateStrategy"]["paused"] = False
    world.apply(obj)
    if strategy == "OnDelete":
        seen(world)
        world.wait(lambda: condition(world, "Progressing")[1] == "UpdateComplete", "the template to be passed on")
        for pod in world.pods():
            world.delete_pod(pod["metadata"]["name"])
        world.wait(lambda: len(running(world, 0)) + len(running(world, 1)) == 10, "all pods to be back", 40)
    world.wait(lambda: finished(world, 10, 2), "the end of the update", 90)
    assert updated(world.pods())


def test_a_history_is_kept_within_its_limit_and_a_git_revert_goes_back(world: World) -> None:
    obj = small(world, 1)
    obj["spec"]["revisionHistoryLimit"] = 2
    up(world, obj, 5, 5)
    first = changed(obj, "pc-a")
    for later in (first, changed(obj, "pc-a"), changed(obj, "pc-a")):
        world.apply(later)
        world.wait(lambda: finished(world, 5), "the end of the update", 60)
    world.wait(lambda: [number for number, _ in history(world)] == [2, 3, 4], "the first revision to be pruned")
    world.apply(first)  # what a revert of two commits brings
    world.wait(lambda: finished(world, 5), "the end of the update", 60)
    assert triggers(world.pods("pc-a")) == wanted(first, "pc-a")
    # The old one has the highest number now; what is beyond the limit goes a moment later.
    world.wait(lambda: [number for number, _ in history(world)] == [3, 4, 5], "the history to end with the old one")


def test_grovekeeper_rollback_goes_back_to_the_revision_before(world: World) -> None:
    obj = up(world, small(world, 1), 5, 5)
    before = places(world)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: finished(world, 5), "the end of the update", 60)
    command = [sys.executable, "-m", "grovekeeper.cli", "rollback", "w", "-n", world.namespace]
    config = ["--kubeconfig", str(world.cluster.kubeconfig)]
    listed = subprocess.run([*command, "--list", *config], capture_output=True, text=True, check=True)
    assert len([line for line in listed.stdout.splitlines() if line.strip()]) >= 2
    subprocess.run([*command, *config], capture_output=True, text=True, check=True)
    world.wait(lambda: finished(world, 5) and not any(map(is_updated, world.pods())), "the old template", 60)
    assert places(world) == before
    assert [number for number, _ in history(world)] == [2, 3]


def small(world: World, replicas: int, **more: object) -> Object:
    """Sets of five pods a replica: two and one alone, and a group replica of two."""
    cliques = [world.clique("pc-a", 2), world.clique("pc-b", 1), world.clique("pc-c", 2)]
    group = {"name": "sg-x", "cliqueNames": ["pc-b", "pc-c"], "replicas": 1, "minAvailable": 1}
    return world.set(cliques, [group], replicas, **(more or coherent()))


def serving(pods: Sequence[Object], index: int) -> list[Object]:
    """Return the pods of a set replica that serve."""
    return [pod for pod in pods if recorder.up(pod) and replicas_of([pod]) == {str(index)}]


def whole(pods: Sequence[Object]) -> list[int]:
    """Return the set replicas of which all five pods serve."""
    return [index for index in range(3) if len(serving(pods, index)) == 5]


def mine(world: World, index: int) -> list[Object]:
    return [pod for pod in world.pods() if replicas_of([pod]) == {str(index)}]


def running(world: World, index: int) -> list[Object]:
    return [pod for pod in mine(world, index) if is_ready(pod)]


def has_node(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def changed(obj: Object, *cliques: str) -> Object:
    """The set with a new value of one environment variable in some cliques."""
    result = copy.deepcopy(obj)
    value = str(next(_VALUES))
    for clique in result["spec"]["template"]["cliques"]:
        if clique["name"] in cliques:
            for container in clique["spec"]["podSpec"]["containers"]:
                container["env"] = [{"name": "UPDATE_TRIGGER", "value": value}]
    return result


def wanted(obj: Object, clique: str) -> set[str]:
    """The values of the variable that the pods of a clique are to have."""
    found = next(each for each in obj["spec"]["template"]["cliques"] if each["name"] == clique)
    return {entry["value"] for entry in found["spec"]["podSpec"]["containers"][0].get("env") or ()}


def places(world: World) -> dict[str, str]:
    return {pod["spec"]["hostname"]: pod["spec"].get("nodeName", "") for pod in world.pods()}


def triggers(pods: Sequence[Object]) -> set[str]:
    listed = (entry for pod in pods for entry in pod["spec"]["containers"][0].get("env") or ())
    return {entry["value"] for entry in listed if entry["name"] == "UPDATE_TRIGGER"}


def begun(world: World) -> bool:
    return bool(updating(world.get_set("w")))


def quiet(world: World) -> bool:
    obj = world.get_set("w")
    status = statuses.of(obj)
    return bool(status.get("currentGenerationHash") and status.get("availableReplicas") == obj["spec"]["replicas"])


def condition(world: World, kind: str) -> tuple[str, str]:
    return statuses.verdict(world.get_set("w"), kind)


def history(world: World) -> list[tuple[int, Object]]:
    found = world.request("GET", world.path("controllerrevisions", group=REVISIONS))["items"]
    return sorted(((entry["revision"], entry["data"]) for entry in found), key=lambda entry: entry[0])
