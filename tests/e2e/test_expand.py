"""What `grovekeeper expand` prints is what the cluster has, byte for byte, apart from what the server assigns."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from grovekeeper.cli.main import main
from tests.e2e.world import World

EXAMPLES = Path(__file__).parents[2] / "gitops-examples" / "plain"
SHARING = Path(__file__).parents[1] / "devices" / "shared.yaml"
MANIFESTS = [*sorted(path for path in EXAMPLES.rglob("*.yaml") if path.parent != EXAMPLES), SHARING]
WHERE = {
    "ServiceAccount": ("serviceaccounts", "/api/v1"),
    "Role": ("roles", "/apis/rbac.authorization.k8s.io/v1"),
    "RoleBinding": ("rolebindings", "/apis/rbac.authorization.k8s.io/v1"),
    "Secret": ("secrets", "/api/v1"),
    "ControllerRevision": ("controllerrevisions", "/apis/apps/v1"),
    "Service": ("services", "/api/v1"),
    "HorizontalPodAutoscaler": ("horizontalpodautoscalers", "/apis/autoscaling/v2"),
    "ResourceClaim": ("resourceclaims", "/apis/resource.k8s.io/v1"),
    "PodClique": ("podcliques", "/apis/grove.io/v1alpha1"),
    "PodCliqueScalingGroup": ("podcliquescalinggroups", "/apis/grove.io/v1alpha1"),
    "PodGang": ("podgangs", "/apis/scheduler.grove.io/v1alpha1"),
    "Pod": ("pods", "/api/v1"),
    "PodDisruptionBudget": ("poddisruptionbudgets", "/apis/policy/v1"),
}
ASSIGNED = [
    # Everything: identity, bookkeeping, what controllers report.
    r"metadata\.(uid|resourceVersion|generation|creationTimestamp|managedFields|name|finalizers)",
    r"metadata\.ownerReferences\[\d+\]\.uid",
    r"status",
    # Kubernetes' own defaults and controllers.
    r"Secret:(data|metadata\.annotations\.kubernetes\.io/service-account\.uid)",
    r"ServiceAccount:secrets",
    r"Service:spec\.(clusterIPs|ipFamilies|ipFamilyPolicy|internalTrafficPolicy|sessionAffinity|type)",
    r"HorizontalPodAutoscaler:(spec\.behavior|metadata\.annotations).*",
    r"ResourceClaim:spec\.devices\.requests\[\d+\]\.exactly\.(allocationMode|count)",
    r"Pod:spec\.(dnsPolicy|schedulerName|securityContext|enableServiceLinks|priority|preemptionPolicy|tolerations.*)",
    r"Pod:spec\.(serviceAccount|serviceAccountName)",
    r"Pod:spec\.volumes",
    r"Pod:spec\.volumes.*\.fieldRef\.apiVersion",
    r"Pod:spec\.(initC|c)ontainers\[\d+\]\.(terminationMessagePath|terminationMessagePolicy|imagePullPolicy)",
    r"Pod:spec\.(initC|c)ontainers\[\d+\]\.volumeMounts",
    # Requests are defaulted from limits.
    r"Pod:spec\.(initC|c)ontainers\[\d+\]\.(resources(\.requests.*)?|ports\[\d+\]\.protocol)",
    r"Pod:spec\.(initC|c)ontainers\[\d+\]\.\w+Probe\.(timeoutSeconds|periodSeconds|successThreshold|failureThreshold)",
    r"Pod:spec\.(initC|c)ontainers\[\d+\]\.\w+Probe\.httpGet\.scheme",
    # Names that the server completes, and what was decided about the pods that have them.
    r"PodGang:spec\.podgroups\[\d+\]\.podReferences.*",
    r"PodGang:metadata\.annotations(\.grovekeeper\.io/\w+)?",
]
PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in ASSIGNED))
IDENTITY = re.compile(r"\w+:metadata\.ownerReferences\[\d+\]\.uid|Pod:metadata\.name|PodGang:.*\.podReferences.*")


@pytest.mark.slow
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_what_expand_prints_is_what_the_cluster_has(world: World, path: Path, tmp_path: Path) -> None:
    obj = yaml.safe_load(path.read_text())
    obj["metadata"]["namespace"] = world.namespace
    for clique in obj["spec"]["template"]["cliques"]:
        # Nothing has room for them, so that pods stay as the webhook left them.
        clique["spec"]["podSpec"]["nodeSelector"] = {"pool": world.namespace}
    wanted = printed(world, obj, tmp_path)
    world.apply(obj)
    pods = sum(entry["kind"] == "Pod" for entry in wanted)
    world.wait(lambda: len(world.pods()) == pods, f"{pods} pods")
    base_gangs = [
        e for e in wanted if e["kind"] == "PodGang" and "grove.io/base-podgang" not in e["metadata"]["labels"]
    ]
    gangs = world.path("podgangs", group=WHERE["PodGang"][1])
    world.wait(lambda: len(world.request("GET", gangs)["items"]) >= len(base_gangs), "gangs that wait")
    for kind in WHERE.keys() - {"PodDisruptionBudget"}:
        # The object of a scaled gang comes when its base gang has its place.
        mine = base_gangs if kind == "PodGang" else [entry for entry in wanted if entry["kind"] == kind]
        same(mine, live(world, kind, obj["metadata"]["name"], len(mine)))


@pytest.mark.slow
def test_the_budgets_that_expand_prints_come_when_the_pods_are_ready(world: World, tmp_path: Path) -> None:
    world.add_nodes(10)
    obj = world.wl2()
    wanted = [entry for entry in printed(world, obj, tmp_path) if entry["kind"] == "PodDisruptionBudget"]
    world.apply(obj)
    world.wait_pods(10, 10)
    world.advance(15)
    assert len(wanted) == 5
    same(wanted, live(world, "PodDisruptionBudget", obj["metadata"]["name"], 5))


def printed(world: World, obj: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return what the command line makes of the set."""
    (folder / "set.json").write_text(json.dumps(obj))
    done = CliRunner().invoke(main, ["expand", "-o", "json", "--init-image", init_image(world), str(folder)])
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


def same(wanted: list[dict[str, Any]], live: list[dict[str, Any]]) -> None:
    """Compare objects of one kind."""
    want, have = {mark(e): e for e in wanted}, {mark(e): e for e in live}
    assert want.keys() == have.keys()
    for name, entry in want.items():
        assert line(entry, entry) == line(entry, have[name])


def init_image(world: World) -> str:
    settings = yaml.safe_load((world.cluster.dir / "settings.yaml").read_text())
    return str(settings.get("init_image", "grovekeeper:latest"))


def live(world: World, kind: str, part_of: str, count: int) -> list[dict[str, Any]]:
    """Return the objects of a kind, once there are so many: some kinds come after the pods."""
    world.wait(lambda: len(there(world, kind, part_of)) >= count, f"{count} objects of kind {kind}")
    return there(world, kind, part_of)


def there(world: World, kind: str, part_of: str) -> list[dict[str, Any]]:
    plural, group = WHERE[kind]
    selector = f"app.kubernetes.io%2Fpart-of%3D{part_of}"
    found = world.request("GET", f"{world.path(plural, group=group)}?labelSelector={selector}")
    return [{"apiVersion": found["apiVersion"], "kind": kind, **entry} for entry in found["items"]]


def mark(entry: dict[str, Any]) -> str:
    """Return what tells objects apart: the name, or a pod's hostname."""
    return str(entry["spec"]["hostname"] if entry["kind"] == "Pod" else entry["metadata"]["name"])


def line(printed: dict[str, Any], entry: dict[str, Any]) -> str:
    """Return the object without what the server assigns beyond what was printed, as canonical JSON."""
    return json.dumps(bare(entry["kind"], printed, entry, ""), sort_keys=True)


def bare(kind: str, printed: Any, live: Any, path: str) -> Any:
    if isinstance(live, dict):
        known = printed if isinstance(printed, dict) else {}
        found = {key: (f"{path}.{key}".lstrip("."), value) for key, value in live.items()}
        return {
            key: bare(kind, known.get(key), value, where)
            for key, (where, value) in found.items()
            if not assigned(kind, where, key in known)
        }
    if isinstance(live, list):
        known = printed if isinstance(printed, list) else []
        mine = [entry for entry in live if not is_token(entry)]
        found = [(f"{path}[{index}]", value, index < len(known)) for index, value in enumerate(mine)]
        return [
            bare(kind, known[index] if given else None, value, where)
            for index, (where, value, given) in enumerate(found)
            if not assigned(kind, where, given)
        ]
    return live


def is_token(entry: Any) -> bool:
    """Return whether this is the volume of a pod's own token, or a mount of it: the server puts them in."""
    return isinstance(entry, dict) and str(entry.get("name", "")).startswith("kube-api-access-")


def assigned(kind: str, path: str, printed: bool) -> bool:
    """Return whether the server assigns this. What was printed is compared, but for identities."""
    if printed and not IDENTITY.fullmatch(f"{kind}:{path}"):
        return False
    return PATTERN.fullmatch(path) is not None or PATTERN.fullmatch(f"{kind}:{path}") is not None
