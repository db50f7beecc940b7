"""A PodGangSet (either spelling) as the arithmetic sees it: small frozen values, parsed once per generation.

`Workload` is what the rest of expand, the reconciler and the placement adapter read; nobody walks the raw dict twice.
Defaults of the webhook are assumed to be in place, but every optional field is read with the same default again, so
that a manifest straight from Git (`grovekeeper expand`) and a stored object give the same answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grovekeeper.api import names, raw


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack constraint: topology domains (not label keys) of a ClusterTopologyBinding; None where not asked for."""

    topology: str | None
    required: str | None
    preferred: str | None


@dataclass(frozen=True, slots=True)
class Spread:
    """One rule of spread over the domains of a level, given as a topology domain or as a node label key."""

    domain: str | None
    key: str | None
    max_skew: int
    required: bool


@dataclass(frozen=True, slots=True)
class Sharing:
    """One entry of a resourceSharing list: ResourceClaims that the pods of a level share."""

    name: str
    template: raw.Object | None
    """{metadata, spec} of the set's own template; None for a ResourceClaimTemplate object."""
    namespace: str
    """Of the ResourceClaimTemplate object."""
    per_replica: bool
    """One claim per replica of the level; one for all replicas otherwise."""
    cliques: frozenset[str]
    groups: frozenset[str]
    filtered: bool
    """Whether only pods of `cliques` and `groups` share; all pods of the level otherwise."""


@dataclass(frozen=True, slots=True)
class CliqueTemplate:
    """One entry of spec.template.cliques."""

    name: str
    position: int
    """Index in spec.template.cliques."""
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    role: str
    replicas: int
    min_available: int
    starts_after: tuple[str, ...]
    pod_spec: raw.Object
    """The user's PodSpec; shared, never changed in place."""
    scale: raw.Object | None
    """autoScalingConfig."""
    pack: Pack | None
    template_hash: str
    sharing: tuple[Sharing, ...]
    spread: tuple[Spread, ...] = ()
    """Of the clique's pods."""


@dataclass(frozen=True, slots=True)
class GroupTemplate:
    """One entry of spec.template.podCliqueScalingGroups."""

    name: str
    clique_names: tuple[str, ...]
    replicas: int
    min_available: int
    annotations: tuple[tuple[str, str], ...]
    scale: raw.Object | None
    pack: Pack | None
    sharing: tuple[Sharing, ...]
    termination_delay: str | None
    spread: tuple[Spread, ...] = ()
    """Of the group's replicas within a set replica."""
    base_domain: str | None = None
    """Topology domain that replicas above the minimum must share with the base gang; None: it is only preferred."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A whole set. `raw` is the stored object that it was parsed from."""

    dialect: names.Dialect
    namespace: str
    name: str
    uid: str
    generation: int
    replicas: int
    cliques: tuple[CliqueTemplate, ...]
    groups: tuple[GroupTemplate, ...]
    startup: str
    priority_class: str
    publish_not_ready: bool
    termination_delay: str | None
    """Go duration; None where gang termination is switched off."""
    pack: Pack | None
    update_strategy: raw.Object
    surge: int
    """Extra replicas, with the indexes from `replicas` on, that run while an update lasts (from the status)."""
    history_limit: int
    """How many revisions to keep besides those in use."""
    generation_hash: str
    """Hash over all clique templates: a change starts an update."""
    raw: raw.Object
    sharing: tuple[Sharing, ...] = ()
    """Of the set's own level."""
    spread: tuple[Spread, ...] = ()
    """Of the set's replicas: replicaSpreadConstraints and spec.template.topologyConstraint.spread."""
    scheduler: str = names.SCHEDULER_STOCK
    """Name of the back end that places the set's gangs; validation holds all cliques to one."""

    @property
    def total(self) -> int:
        """Return how many set replicas are to run now, extra ones of an update included."""
        return self.replicas + self.surge

    def group_of(self, clique_name: str) -> GroupTemplate | None:
        """Return the scaling group that the clique belongs to, or None for a standalone clique."""
        return next((group for group in self.groups if clique_name in group.clique_names), None)

    def clique(self, name: str) -> CliqueTemplate:
        """Return the template of exactly this name (Grove looks up by suffix and can find the wrong one: trap 24)."""
        return next(template for template in self.cliques if template.name == name)

    def standalone(self) -> tuple[CliqueTemplate, ...]:
        """Return the cliques outside of scaling groups, in template order."""
        members = {name for group in self.groups for name in group.clique_names}
        return tuple(template for template in self.cliques if template.name not in members)


@dataclass(frozen=True, slots=True)
class Live:
    """Replica counts that autoscalers or people have set on living children; others count as their template."""

    cliques: Mapping[str, int] = field(default_factory=dict)
    """PodClique FQN to spec.replicas."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """PodCliqueScalingGroup FQN to spec.replicas."""
