"""kubectl on both clusters: what people type in the first hour."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import PATIENCE
from tests.controlplane import binaries

pytestmark = pytest.mark.real
"""kubectl itself comes with the control plane's binaries."""

MANIFEST = """\
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata: {name: shop}
spec:
  replicas: %s
  template:
    cliques:
      - name: web
        spec:
          roleName: web
          replicas: 2
          podSpec: {containers: [{name: c, image: i}]}
"""


class Kubectl:
    def __init__(self, server: Any, namespace: str) -> None:
        self._command = [
            str(binaries.ensure("kubectl")),
            f"--kubeconfig={server.kubeconfig}",
            f"--namespace={namespace}",
        ]

    def __call__(self, *arguments: str, code: int = 0, text: str | None = None) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=30 * PATIENCE,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def kubectl(server: Any, namespace: str) -> Kubectl:
    return Kubectl(server, namespace)


def test_apply_get_scale_and_delete(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(MANIFEST % 1)
    assert "created" in kubectl("apply", "-f", str(path))
    assert "unchanged" in kubectl("apply", "-f", str(path))
    path.write_text(MANIFEST % 2)
    assert "+  replicas: 2" in kubectl("diff", "-f", str(path), code=1)
    assert "configured" in kubectl("apply", "-f", str(path))
    table = kubectl("get", "pgs").splitlines()
    assert table[0].split()[:2] == ["NAME", "REPLICAS"] or table[0].split()[0] == "NAME"
    assert table[1].startswith("shop")
    assert "scaled" in kubectl("scale", "pgs/shop", "--replicas=3")
    assert json.loads(kubectl("get", "pgs", "shop", "-o", "json"))["spec"]["replicas"] == 3
    assert kubectl("get", "pgs", "-o", "name").strip() == "podgangset.grove.io/shop"
    assert "deleted" in kubectl("delete", "pgs", "shop")
    assert "not found" in kubectl("get", "pgs", "shop", code=1).lower()


def test_server_side_apply_and_its_dry_run(kubectl: Kubectl) -> None:
    dry = kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=MANIFEST % 1)
    assert "serverside-applied (server dry run)" in dry
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", text=MANIFEST % 1)
    conflict = kubectl("apply", "--server-side", "--field-manager=b", "-f", "-", code=1, text=MANIFEST % 2)
    assert "conflict" in conflict
    wrong = kubectl("apply", "--server-side", "-f", "-", code=1, text=(MANIFEST % 1).replace("roleName", "roleNmae"))
    assert "roleNmae" in wrong


def test_describe_label_patch_and_explain(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=MANIFEST % 1)
    assert "labeled" in kubectl("label", "pgs", "shop", "team=a")
    assert kubectl("get", "pgs", "-l", "team=a", "-o", "name").strip()
    assert not kubectl("get", "pgs", "-l", "team=b", "-o", "name").strip()
    assert "patched" in kubectl("patch", "pgs", "shop", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    assert "Pods that the gang needs" in kubectl("explain", "pgs.spec.template.cliques.spec")
    described = kubectl("describe", "pgs", "shop")
    assert "Replicas:" in described
    assert "shop" in kubectl("get", "all,pgs", "-o", "wide")


def test_autoscale_and_drain(kubectl: Kubectl, server: Any, namespace: str) -> None:
    """Both are typed commands: they send protobuf, and drain asks discovery for evictions first."""
    kubectl("create", "-f", "-", text=MANIFEST % 1)
    said = kubectl("autoscale", "pgs", "shop", "--min=1", "--max=3", "--cpu=80%")
    assert "autoscaled" in said
    assert ("scales nothing by them" in said) != hasattr(server, "processes")
    spec = json.loads(kubectl("get", "hpa", "shop", "-o", "json"))["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "name": "shop"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 3)
    node = f"{namespace}-n"
    server.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    pod_spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod_spec}
    kubectl("create", "-f", "-", text=json.dumps(pod))
    said = kubectl("drain", node, "--force", "--dry-run=server")
    assert f"evicting pod {namespace}/p (server dry run)" in said
    assert "deletionTimestamp" not in json.loads(kubectl("get", "pod", "p", "-o", "json"))["metadata"]
    server.request("DELETE", f"/api/v1/nodes/{node}")


def test_waiting_ends_at_once_where_it_is_so_already(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=MANIFEST % 1)
    assert "condition met" in kubectl("wait", "pgs/shop", "--for=jsonpath={.spec.replicas}=1", "--timeout=5s")
    assert "condition met" in kubectl("wait", "pgs/shop", "--for=create", "--timeout=5s")
