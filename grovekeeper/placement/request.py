"""What the engine is asked and what it answers. Quantities are integers in base units (cpu in milli, bytes, pieces)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grovekeeper.api import raw


@dataclass(frozen=True, slots=True)
class Constraint:
    """A pack constraint in node label keys; None means not asked. `preferred` is tried narrowest first."""

    required: str | None = None
    preferred: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Spread of siblings over the domains of one level (a node label key)."""

    level: str
    max_skew: int
    required: bool
    """DoNotSchedule (True) or ScheduleAnyway (False)."""


@dataclass(frozen=True, slots=True)
class PodAsk:
    """One pod that wants a node."""

    name: str
    uid: str
    spec: raw.Object
    """The pod's spec as stored; the engine derives the request, the tolerations and the node eligibility from it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    nominated: str | None = None
    """Node where this pod is to stay if at all possible (reuse of a reservation, a decision half carried out)."""
    held: bool = False
    """Whether that node is held for it: then it goes there also when others of its gang cannot go home."""


@dataclass(frozen=True, slots=True)
class GroupAsk:
    """One PodGroup (a clique of the gang). The first `minimum` pods must be placed, the rest are best effort."""

    name: str
    pods: tuple[PodAsk, ...]
    minimum: int
    constraint: Constraint = Constraint()
    spread: tuple[Spread, ...] = ()
    """Of the pods of the clique over domains: the skew is counted in pods."""


@dataclass(frozen=True, slots=True)
class SubgangAsk:
    """Groups that share a constraint of their own: one scaling-group replica inside the base gang."""

    name: str
    groups: tuple[str, ...]
    constraint: Constraint
    family: str = ""
    """Name of the scaling group: subgangs of one family are spread against each other."""
    spread: tuple[Spread, ...] = ()
    spread_peers: tuple[tuple[str, ...], ...] = ()
    """Node names used by each replica of the family that is not part of this ask."""


@dataclass(frozen=True, slots=True)
class Followers:
    """Gangs of one kind that will be placed after this one and want to be near it: scaled gangs of a base gang."""

    count: int
    groups: tuple[tuple[str, int], ...]
    """Names of groups of this ask, with how many pods like theirs each of the gangs has."""
    required: str | None = None
    """Node label key of the level of which each shares a domain."""


@dataclass(frozen=True, slots=True)
class GangAsk:
    """A whole gang: all or nothing for the minimum of every group.

    `fixed` names pods of the gang that already have a node (pod name to node name, with the GroupAsk name they count
    for); they cannot move, count towards the minimum and force the required domains. `near` is the node names of
    the base gang: a scaled gang prefers their domains.
    """

    namespace: str
    name: str
    groups: tuple[GroupAsk, ...]
    constraint: Constraint = Constraint()
    subgangs: tuple[SubgangAsk, ...] = ()
    priority: int = 0
    preempts: bool = True
    created: str = ""
    """RFC 3339 time: age is the second criterion of order, after priority."""
    fixed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Pod name to (group name, node name)."""
    near: tuple[str, ...] = ()
    spread: tuple[Spread, ...] = ()
    spread_peers: tuple[tuple[str, ...], ...] = ()
    """Node names used by each sibling (set replica, or group replica for a scaled gang), for `spread`."""
    closed: frozenset[str] = frozenset()
    """Names of nodes that are kept for a gang that has waited longer."""
    avoid: frozenset[str] = frozenset()
    """Names of nodes that have refused pods of the gang lately."""
    levels: tuple[str, ...] = ()
    """Node label keys of the topology that applies, broadest first."""
    followers: tuple[Followers, ...] = ()
    """A wish for domains that have room for these, too."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A decision: every pod of the minimum has a node, and as many of the rest as fit."""

    nodes: Mapping[str, str]
    """Pod name to node name, only of pods that were asked for (not of the fixed ones)."""
    left_out: tuple[str, ...]
    """Names of best-effort pods for which there was no room."""
    domains: Mapping[str, tuple[str, ...]]
    """Level key to the domains used."""
    score: float
    """1.0 is best: every preference met in the fewest domains."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why one level could not hold the gang."""

    level: str
    text: str
    """One sentence: best domain, what fitted of what, which resource was short, what was excluded and why."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """The gang does not fit now. `summary` is one line for a condition and an event."""

    summary: str
    shortfalls: tuple[Shortfall, ...] = ()
    never: bool = False
    """True where not even the empty cluster could hold it: waiting for room is pointless until nodes change."""
