"""Health of a set as Argo CD (Lua) and Flux (CEL, kstatus) see it: one table, and all of them agree."""

import json
from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import pytest
import yaml

from grovekeeper.api import raw, rules

EXAMPLES = Path(__file__).parents[2] / "gitops-examples"
SCRIPT = (EXAMPLES / "argocd" / "health.lua").read_text()


def condition(kind: str, status: str, reason: str = "Some", message: str = "said") -> raw.Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = condition("Ready", "True", "AllReplicasAvailable")
UNREADY = condition("Ready", "False", "Progressing")
RECONCILING = condition("Reconciling", "True")
STALLED = condition("Stalled", "True", "NameCollision")
PAUSED = condition("Progressing", "Unknown", "UpdatePaused")

TABLE = [
    # what, status, Argo CD, Flux
    ("never looked at", {"observedGeneration": -1}, "Progressing", "InProgress"),
    ("behind", {"observedGeneration": 1, "conditions": [READY]}, "Progressing", "InProgress"),
    ("no conditions", {"observedGeneration": 2}, "Progressing", "InProgress"),
    ("null conditions", {"observedGeneration": 2, "conditions": None}, "Progressing", "InProgress"),
    ("coming up", {"observedGeneration": 2, "conditions": [UNREADY, RECONCILING]}, "Progressing", "InProgress"),
    (
        "ready is unknown",
        {"observedGeneration": 2, "conditions": [condition("Ready", "Unknown")]},
        "Progressing",
        "InProgress",
    ),
    ("a gang finds no room", {"observedGeneration": 2, "conditions": [UNREADY]}, "Progressing", "InProgress"),
    ("stalled", {"observedGeneration": 2, "conditions": [UNREADY, STALLED]}, "Degraded", "Failed"),
    ("ready", {"observedGeneration": 2, "conditions": [READY]}, "Healthy", "Current"),
    ("scaled to zero", {"observedGeneration": 2, "replicas": 0, "conditions": [READY]}, "Healthy", "Current"),
    ("paused", {"observedGeneration": 2, "conditions": [UNREADY, RECONCILING, PAUSED]}, "Suspended", "InProgress"),
]
IDS = [row[0] for row in TABLE]


@pytest.mark.parametrize("libraries", [True, False], ids=["open libraries", "as in argocd-cm"])
@pytest.mark.parametrize(("_what", "status", "want", "_flux"), TABLE, ids=IDS)
def test_argo_cd_sees_it(_what: str, status: raw.Object, want: str, _flux: str, libraries: bool) -> None:
    found = health({"metadata": {"generation": 2}, "status": status}, libraries=libraries)
    assert found["status"] == want
    assert isinstance(found["message"], str)


def test_a_set_without_any_status_is_progressing() -> None:
    assert health({"metadata": {"generation": 1}}, libraries=False)["status"] == "Progressing"


@pytest.mark.parametrize(("_what", "status", "_argo", "want"), TABLE, ids=IDS)
def test_flux_sees_it_by_kstatus_and_by_expressions(_what: str, status: raw.Object, _argo: str, want: str) -> None:
    present = {key: value for key, value in status.items() if value is not None}
    obj = {"metadata": {"generation": 2}, "spec": {}, "status": present}
    if status["observedGeneration"] != 2 or present.get("conditions"):
        # kstatus takes a seen object without conditions for done; Grovekeeper writes both in one update.
        assert kstatus(obj) == want
    for expressions in flux():
        assert evaluated(expressions, obj) == want


def test_the_config_map_and_both_kinds_carry_the_same_check() -> None:
    config = yaml.safe_load((EXAMPLES / "argocd" / "argocd-cm.yaml").read_text())["data"]
    for kind in ("PodGangSet", "PodCliqueSet"):
        assert config[f"resource.customizations.health.grove.io_{kind}"] == SCRIPT
    assert [entry["kind"] for entry in flux()] == ["PodGangSet", "PodCliqueSet"]


def flux() -> list[raw.Object]:
    loaded = yaml.safe_load((EXAMPLES / "flux" / "kustomization.yaml").read_text())
    result: list[raw.Object] = loaded["spec"]["healthCheckExprs"]
    return result


def health(obj: raw.Object, *, libraries: bool) -> dict[str, Any]:
    """Run the script as Argo CD does: JSON null is nil, and without open libraries there is no string and no math."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    globals_ = runtime.globals()
    globals_["obj"] = _table(runtime, json.loads(json.dumps(obj)))
    if not libraries:
        runtime.execute("getmetatable('').__index = nil; string, math, io, coroutine, debug, os = nil")
    return dict(runtime.execute(SCRIPT))


def _table(runtime: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return runtime.table_from({key: _table(runtime, entry) for key, entry in value.items() if entry is not None})
    if isinstance(value, list):
        return runtime.table_from([_table(runtime, entry) for entry in value])
    return value


def evaluated(expressions: raw.Object, obj: raw.Object) -> str:
    """Return what Flux makes of the expressions: its own look at the generation first, then these in this order."""
    observed = obj["status"].get("observedGeneration")
    if isinstance(observed, int) and observed != obj["metadata"]["generation"]:
        return "InProgress"
    for name, result in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        if rules.evaluate(expressions[name], obj):
            return result
    return "InProgress"


def kstatus(obj: raw.Object) -> str:
    """Return the status by the rules of cli-utils' kstatus for kinds that it does not know."""
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = obj.get("status") or {}
    if "observedGeneration" in status and status["observedGeneration"] != obj["metadata"]["generation"]:
        return "InProgress"
    listed = status.get("conditions") or []
    for entry in listed:
        if entry["status"] == "True" and entry["type"] in ("Reconciling", "Stalled"):
            return "InProgress" if entry["type"] == "Reconciling" else "Failed"
    ready = next((entry for entry in listed if entry["type"] == "Ready"), None)
    if ready is not None:
        return "Current" if ready["status"] == "True" else "InProgress"
    return "Current"
