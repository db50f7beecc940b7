"""Rules of spec.updateStrategy and spec.revisionHistoryLimit."""

from grovekeeper.api import names, raw
from grovekeeper.api.validate import verdict

_PATH = "spec.updateStrategy"
_COUNTS = ("maxUnavailable", "maxSurge")
_TYPES = (names.UPDATE_ROLLING_RECREATE, names.UPDATE_ON_DELETE, names.UPDATE_COHERENT)


def check(found: verdict.Verdict, spec: raw.Object) -> None:
    """Add a fault for everything in the strategy that cannot be, or that would silently not happen."""
    strategy = spec.get("updateStrategy") or {}
    kind = strategy.get("type") or names.UPDATE_ROLLING_RECREATE
    if kind not in _TYPES:
        found.fault(f"{_PATH}.type", "NotSupported", f"use one of {', '.join(_TYPES)}", kind)
    for field in _COUNTS:
        value = strategy.get(field)
        if value is None:
            continue
        if kind != names.UPDATE_COHERENT:
            text = f"only type {names.UPDATE_COHERENT} counts set replicas: remove it, or change the type from {kind}"
            found.fault(f"{_PATH}.{field}", "Forbidden", text, value)
        elif isinstance(value, int) and value < 0:
            found.fault(f"{_PATH}.{field}", "Invalid", "must be 0 or more", value)
    if kind == names.UPDATE_COHERENT and strategy.get("maxUnavailable") == 0 and not strategy.get("maxSurge"):
        text = "with maxSurge 0 (its default) no update could ever begin: raise one of the two"
        found.fault(f"{_PATH}.maxUnavailable", "Invalid", text, 0)
    _deadline(found, strategy, kind)
    limit = spec.get("revisionHistoryLimit")
    if isinstance(limit, int) and limit < 0:
        found.fault("spec.revisionHistoryLimit", "Invalid", "must be 0 or more", limit)


def _deadline(found: verdict.Verdict, strategy: raw.Object, kind: str) -> None:
    deadline = strategy.get("progressDeadlineSeconds")
    if deadline is None:
        return
    path = f"{_PATH}.progressDeadlineSeconds"
    if isinstance(deadline, int) and deadline < 1:
        found.fault(path, "Invalid", "must be 1 or more; without a deadline remove it", deadline)
    elif kind == names.UPDATE_ON_DELETE:
        text = f"{names.UPDATE_ON_DELETE} updates wait for people and have no deadline: remove it"
        found.fault(path, "Forbidden", text, deadline)
