"""What the webhooks may know besides the request: settings and what informers have seen, possibly a moment ago."""

from collections.abc import Callable
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.api.validate import verdict
from grovekeeper.expand import injection


@dataclass(slots=True)
class State:
    """In-memory state. The look-ups answer from caches; they never call anybody."""

    injection: injection.Settings
    own_user: str
    """system:serviceaccount:<namespace>:<name> of our components."""
    exempt: frozenset[str] = frozenset()
    protection: bool = True
    default_scheduler: str = names.SCHEDULER_STOCK
    find_set: Callable[[str, str], raw.Object | None] = field(default=lambda _namespace, _name: None)
    """Namespace and name of a set to the set, of either kind."""
    find_clique: Callable[[str, str, str], raw.Object | None] = field(default=lambda _plural, _namespace, _name: None)
    """Plural, namespace and name of a PodClique or PodCliqueScalingGroup to the object."""
    context: Callable[[], verdict.Context] = field(default=verdict.Context)
