"""The condition TopologyLevelsUnavailable of a set: whether the levels that its constraints name exist. Pure."""

from grovekeeper.api import conditions, raw
from grovekeeper.expand import gangs, model
from grovekeeper.kube import store

TYPE = "TopologyLevelsUnavailable"


def condition(bindings: store.Store, w: model.Workload, now: str) -> raw.Object:
    """Return the condition, with Grove's reasons; Unknown where nothing can be said without a binding."""
    packs = [pack for pack in (w.pack, *(g.pack for g in w.groups), *(c.pack for c in w.cliques)) if pack]
    if not packs:
        return _of(False, "AllClusterTopologyLevelsAvailable", "no topology constraint", now)
    name = gangs.topology_name(w)
    if name is None:
        text = "a topology constraint without topologyName: name a ClusterTopologyBinding in spec.template"
        return _of(None, "TopologyNameMissing", text, now)
    binding = bindings.get(None, name)
    if binding is None:
        text = f"ClusterTopologyBinding {name} does not exist: constraints are not applied until it does"
        return _of(None, "ClusterTopologyNotFound", text, now)
    known = {level["domain"] for level in binding["spec"].get("levels") or ()}
    asked = {domain for pack in packs for domain in (pack.required, pack.preferred) if domain}
    asked |= {group.base_domain for group in w.groups if group.base_domain}
    rules = [*w.spread, *(r for g in w.groups for r in g.spread), *(r for c in w.cliques for r in c.spread)]
    asked |= {rule.domain for rule in rules if rule.domain}
    gone = sorted(asked - known)
    if gone:
        text = f"ClusterTopologyBinding {name} lacks {', '.join(gone)}: add the levels, or change the constraints"
        return _of(True, "ClusterTopologyLevelsUnavailable", text, now)
    return _of(False, "AllClusterTopologyLevelsAvailable", f"all levels are in {name}", now)


def _of(unavailable: bool | None, reason: str, message: str, now: str) -> raw.Object:
    return conditions.condition(TYPE, unavailable, reason, message, now)
