"""What operators do and what befalls them: an upgrade, a change of the leader, a set that goes with all it has."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grovekeeper.embedded.registration import NAMESPACE
from tests.e2e.components import holder
from tests.e2e.world import PATIENCE, Object, World, changed, uids

ROOT = Path(__file__).parents[2]
RELEASE = "db2efda"
"""The commit with which the changelog got its 0.1.0."""
OLD_IMAGE, NEW_IMAGE = "grovekeeper:0.1.0", "grovekeeper:next"
ADMIN = "upgrade-admin"
LATER = ("GROVEKEEPER_SCHEDULERS__", "GROVEKEEPER_AUTO_MNNVL")
"""Settings that the first release did not know, and would not start with."""
ASIDE: dict[str, dict[str, str]] = {}
"""By component: those of its settings, while the first release runs."""


@pytest.mark.slow
@pytest.mark.timeout(400 * PATIENCE)
def test_upgrade1_gangs_of_the_first_release_survive_and_are_scaled_by_this_one(world: World, tmp_path: Path) -> None:
    """UPGRADE: pods keep their UIDs and their old init gate; what is new has the new one.

    What the first release made goes to zero and back as well, and what it had at zero comes up: Grove's change of the
    names of gangs left such pods gated for good.
    """
    world.add_nodes(6)
    try:
        with old_build(world, tmp_path):
            cliques = [world.clique("bootstrap", 1), world.clique("worker", 1, startsAfter=["bootstrap"])]
            obj = world.set(cliques, cliqueStartupType="CliqueStartupTypeExplicit")
            world.apply(obj)
            resting = world.set([world.clique("idle", 2)])
            resting["metadata"]["name"] = "resting"
            world.apply(resting)
            world.wait_pods(4, 4, 60)
            world.scale("podgangsets", "resting", 0)
            world.wait_pods(2, 2, 60)
            before = {pod["metadata"]["uid"]: pod for pod in world.pods()}
        restart(world, {"GROVEKEEPER_INIT_IMAGE": NEW_IMAGE})
        world.scale("podgangsets", "w", 2)
        world.wait_pods(4, 4, 60)
        assert before.keys() <= uids(world.pods())
        images = {p["metadata"]["uid"] in before: image for p in world.pods("worker") for image in gates(p)}
        assert images == {True: OLD_IMAGE, False: NEW_IMAGE}
        kept = [p for p in world.pods() if p["metadata"]["uid"] in before]
        assert all(p["spec"]["nodeName"] == before[p["metadata"]["uid"]]["spec"]["nodeName"] for p in kept)
        world.apply(changed(obj, "worker"))
        world.wait(lambda: [gates(p) for p in world.pods("worker")] == [[NEW_IMAGE]], "an update to reach it", 60)
        world.scale("podgangsets", "resting", 1)
        world.wait_pods(4, 4, 60)  # what was applied has one replica of `w`
        for plural, name, left in (("podcliques", "w-0-worker", 3), ("podgangsets", "w", 2)):
            world.scale(plural, name, 0)
            world.wait_pods(left, left, 60)
            world.scale(plural, name, 1)
            world.wait_pods(4, 4, 60)
    finally:
        restart(world, {})


@contextmanager
def old_build(world: World, folder: Path) -> Iterator[None]:
    """Run the components of the first release; it could read Secrets, so it gets more rights while it runs."""
    if shutil.which("git") is None:
        pytest.skip("the first release comes out of the history, which needs git")
    packed = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history of this clone does not reach back to {RELEASE}: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder / "old", filter="tar")
    settings = folder / "settings.yaml"
    settings.write_text(f"namespace: {NAMESPACE}\n")
    bind_admin(world)
    try:
        # Without the safe path the working directory, which has this build, would come before the old one.
        path = {"PYTHONPATH": str(folder / "old"), "PYTHONSAFEPATH": "1"}
        restart(world, {**path, "GROVEKEEPER_INIT_IMAGE": OLD_IMAGE}, settings)
        yield
    finally:
        for component in world.installation.components.values():
            component.stop(kill=True)  # it would go on asking for what it may no more
        world.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{ADMIN}")


def restart(world: World, environment: dict[str, str], settings: Path | None = None) -> None:
    """End every component and start it again with this environment, and with another settings file if there is one."""
    for component in world.installation.components.values():
        component.stop(kill=True)
        kept = component.environment
        for name in ("PYTHONPATH", "PYTHONSAFEPATH", "GROVEKEEPER_INIT_IMAGE"):
            kept.pop(name, None)
        if settings is not None:
            ASIDE[component.name] = {key: kept.pop(key) for key in list(kept) if key.startswith(LATER)}
        else:
            kept.update(ASIDE.pop(component.name, {}))
        kept.update(environment)
        at = component.arguments.index("--config") + 1
        mine = world.installation.cluster.dir / "settings.yaml"
        component.arguments[at] = str(settings or mine)
        component.start()
    for component in world.installation.components.values():
        component.wait_ready(60 * PATIENCE)


def bind_admin(world: World) -> None:
    subject = {"kind": "ServiceAccount", "name": "grovekeeper", "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": ADMIN}, "subjects": [subject], "roleRef": role}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
    world.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {**kind, **binding})


def gates(pod: Object) -> list[str]:
    """The images of a pod's init gate."""
    return [c["image"] for c in pod["spec"].get("initContainers") or () if c["name"] == "grove-initc"]


@pytest.mark.slow
def test_another_dispatcher_takes_over_when_the_leader_dies(world: World) -> None:
    """Two dispatchers stand for election; the one that leads is killed in the middle of a scale-out."""
    second = world.installation.add("dispatcher")
    first = world.installation.components["dispatcher"]
    try:
        world.add_nodes(20)
        world.apply(world.wl1())
        world.wait_pods(10, 10, 60)
        before = uids(world.pods())
        names = {"dispatcher", second}
        old = world.wait(lambda: leader(world), "one of the two to lead", 40)
        assert old in names
        world.installation.components[old].stop(kill=True)
        world.scale("podgangsets", "w", 2)
        world.wait_pods(20, 20, 90)
        assert before <= uids(world.pods())
        world.wait(lambda: leader(world) in names - {old}, "the other to lead", 40)
    finally:
        if first.process is None or first.process.poll() is not None:
            first.start()
            first.wait_ready()
        world.installation.remove(second)


def leader(world: World) -> str:
    """Return the name of the component that holds the dispatcher's Lease; nothing while no running one does."""
    return holder(world, "grovekeeper-dispatcher")


KINDS = {
    "/api/v1": ("pods", "services", "serviceaccounts", "secrets"),
    "/apis/apps/v1": ("controllerrevisions",),
    "/apis/rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
    "/apis/autoscaling/v2": ("horizontalpodautoscalers",),
    "/apis/grove.io/v1alpha1": ("podcliques", "podcliquescalinggroups"),
    "/apis/scheduler.grove.io/v1alpha1": ("podgangs",),
}


def test_cascade1_everything_of_a_deleted_set_goes_by_its_label(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    scale = {"minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}
    obj["spec"]["template"]["podCliqueScalingGroups"][0]["scaleConfig"] = scale
    world.apply(obj)
    world.wait_pods(10, 10)
    world.wait(
        lambda: {plural for plural, _ in labelled(world)} == {k for each in KINDS.values() for k in each}, "all kinds"
    )
    world.request("DELETE", world.path("podgangsets", "w"))
    # The collector of a new cluster learns of new kinds every thirty seconds.
    world.wait(lambda: not labelled(world), "everything of the set to go", 75)
    world.stays(lambda: not labelled(world), "nothing comes back", 2)


def labelled(world: World) -> list[tuple[str, str]]:
    """Kind and name of everything that is part of the set."""
    found = []
    for group, plurals in KINDS.items():
        for plural in plurals:
            path = f"{world.path(plural, group=group)}?labelSelector=app.kubernetes.io%2Fpart-of%3Dw"
            found += [(plural, item["metadata"]["name"]) for item in world.request("GET", path)["items"]]
    return found
