"""The condition LevelsUsable of a ClusterTopologyBinding: whether its levels mean anything on these nodes. Pure."""

from grovekeeper.api import conditions, raw
from grovekeeper.kube import store
from grovekeeper.placement import levels
from grovekeeper.reconciler import asks

TYPE = "LevelsUsable"


def condition(bindings: store.Store, nodes: store.Store, name: str, now: str) -> raw.Object:
    """Return the condition of the binding of this name, one of `bindings`. O(bindings x levels + levels x nodes)."""
    known = {each["metadata"]["name"]: asks.levels_of(each) for each in bindings.all()}
    found = levels.judgement(name, known, nodes.all())
    return conditions.condition(TYPE, found.usable, found.reason, found.text, now)
