"""An independent referee of placements: it knows manifests, nodes and what the watch shows of pods, nothing of ours.

It reads no label, annotation or status that Grovekeeper writes, but one: what the PodGang says was decided, which is
compared with where kube-scheduler bound the pods. Which pods are a gang follows from the manifests.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
SHORT_OF_WHOLE_SECONDS = 45.0
"""A gang may lack members while the scheduler binds one after the other, and until what it refused is taken back."""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Scope:
    """PodCliques whose pods have to share one domain of a level."""

    label: str
    """Node label."""
    cliques: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gang:
    """What has to be placed whole: PodClique to the pods of its minimum."""

    name: str
    minimum: Mapping[str, int]
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A pod that was pinned to a node and is not there."""

    pod: str
    pinned: str | None
    bound: str | None
    reason: str
    explained: bool

    def __str__(self) -> str:
        return f"{self.pod}: pinned to {self.pinned}, bound to {self.bound}: {self.reason}"


@dataclass(slots=True)
class Seen:
    """What is known of one pod."""

    name: str
    clique: str | None
    """Name of the PodClique that controls it; None for a pod of others."""
    asks: int = 0
    """How much it asks for of the scarce resource."""
    node: str | None = None
    bound_at: float = 0.0
    pin: str | None = None
    pinned_at: float = 0.0
    refusal: str = ""
    """What the scheduler said when it refused the pod after it had been pinned."""
    disrupted: bool = False
    ready: bool = False
    going: bool = False
    gone: bool = False
    gone_at: float = 0.0

    @property
    def lives(self) -> bool:
        """Return whether it is neither gone nor on its way."""
        return not self.gone and not self.going

    def describe(self, domain: str | None, now: float) -> str:
        """Return a line about the pod, whose node is in this domain."""
        pin = f"pinned to {self.pin} {now - self.pinned_at:.1f} s ago" if self.pin else "not pinned"
        words = {"ready": self.ready, "being deleted": self.going, "evicted": self.disrupted}
        said = [pin, *(word for word, holds in words.items() if holds), *filter(None, [self.refusal])]
        place = f"on {self.node} in {domain}" if self.node else "without a node"
        return f"{self.name} {place}: {', '.join(said)}"


@dataclass(slots=True)
class Verdict:
    """What the referee found; every list names names."""

    partial: list[str]
    wrong: list[str]
    stuck: list[str]
    disagreements: list[Disagreement]
    compared: int
    """Pods whose binding was compared with their pin."""
    longest_partial: float
    """Seconds for which some gang had a part of its minimum on nodes, at most."""

    @property
    def unexplained(self) -> list[Disagreement]:
        """Return the disagreements without a reason in what the watch showed."""
        return [each for each in self.disagreements if not each.explained]


def gangs(obj: Object, labels: Mapping[str, str]) -> list[Gang]:
    """Return the gangs of a set by Grove's rules; `labels` is topology domain to node label."""
    template = obj["spec"]["template"]
    cliques = {c["name"]: c for c in template["cliques"]}
    groups = template.get("podCliqueScalingGroups") or []
    grouped = {name for group in groups for name in group["cliqueNames"]}
    found = []
    for index in range(obj["spec"]["replicas"]):
        start = f"{obj['metadata']['name']}-{index}"
        minimum = {f"{start}-{name}": _minimum(c) for name, c in cliques.items() if name not in grouped}
        scopes = [_scope(c, [f"{start}-{name}"], labels) for name, c in cliques.items() if name not in grouped]
        for group in groups:
            least = group.get("minAvailable", 1)
            for j in range(group["replicas"]):
                mine = {f"{start}-{group['name']}-{j}-{name}": _minimum(cliques[name]) for name in group["cliqueNames"]}
                own = [
                    _scope(cliques[name], [fqn], labels) for fqn, name in zip(mine, group["cliqueNames"], strict=True)
                ]
                own.append(_scope(group, mine, labels))
                if j < least:
                    minimum.update(mine)
                    scopes += own
                else:
                    if "topologyConstraint" not in group:
                        own.append(_scope(template, mine, labels))
                    found.append(Gang(f"{start}-{group['name']}-{j - least}", mine, tuple(filter(None, own))))
        scopes.append(_scope(template, minimum, labels))
        found.append(Gang(start, minimum, tuple(filter(None, scopes))))
    return found


def _minimum(clique: Object) -> int:
    return int(clique["spec"].get("minAvailable", clique["spec"]["replicas"]))


def _scope(part: Object, cliques: Iterable[str], labels: Mapping[str, str]) -> Scope | None:
    domain = ((part.get("topologyConstraint") or {}).get("pack") or {}).get("required")
    return Scope(labels[domain], frozenset(cliques)) if domain else None


@dataclass(slots=True)
class Referee:
    """Follows a watch of pods. `see` costs O(pods of the gang), `verdict` O(pods)."""

    labels: Mapping[str, Mapping[str, str]]
    """Labels by node."""
    room: Mapping[str, int]
    """By node, how much it offers of the resource that is scarce in the load."""
    scarce: str
    """Name of that resource."""
    pods: dict[str, Seen] = field(default_factory=dict)
    """By UID."""
    _gangs: dict[str, Gang] = field(default_factory=dict)
    _of_clique: dict[str, str] = field(default_factory=dict)
    _members: dict[str, dict[str, Seen]] = field(default_factory=dict)
    """Pods of a gang by UID."""
    _wrong: dict[str, str] = field(default_factory=dict)
    _partial_since: dict[str, float] = field(default_factory=dict)
    _longest: dict[str, float] = field(default_factory=dict)
    _dismissed: set[str] = field(default_factory=set)
    _foreign: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """Pods of others bound to a node: moment and name."""

    def expect(self, found: Iterable[Gang]) -> None:
        """Learn of gangs before their pods are seen."""
        for gang in found:
            self._gangs[gang.name] = gang
            self._of_clique.update(dict.fromkeys(gang.minimum, gang.name))

    def dismiss(self, cliques: Iterable[str]) -> None:
        """Learn that the load takes these PodCliques away: their pods may go in the middle of being placed."""
        self._dismissed.update(cliques)

    def see(self, kind: str, pod: Object, now: float) -> None:
        """Take in one event of the watch; `now` in seconds of any one clock."""
        metadata = pod["metadata"]
        seen = self.pods.get(metadata["uid"])
        if seen is None:
            owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), {})
            clique = owner.get("name") if owner.get("kind") == "PodClique" else None
            seen = self.pods[metadata["uid"]] = Seen(metadata["name"], clique, self._asked(pod))
            if clique is not None and clique in self._of_clique:
                self._members.setdefault(self._of_clique[clique], {})[metadata["uid"]] = seen
        self._update(seen, kind, pod, now)
        if seen.clique in self._of_clique:
            self._look(self._of_clique[str(seen.clique)], now)

    def _update(self, seen: Seen, kind: str, pod: Object, now: float) -> None:
        conditions = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
        gone = kind == "DELETED" or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        if gone and not seen.gone:
            seen.gone, seen.gone_at = True, now
        seen.going = bool(pod["metadata"].get("deletionTimestamp"))
        seen.disrupted |= "DisruptionTarget" in conditions
        seen.ready = (conditions.get("Ready") or {}).get("status") == "True"
        if seen.pin is None and not pod["spec"].get("schedulingGates"):
            seen.pin, seen.pinned_at = pinned(pod), now
        verdict = conditions.get("PodScheduled") or {}
        if seen.pin and verdict.get("status") == "False" and verdict.get("reason") == "Unschedulable":
            # The first sentence; what follows is about preemption.
            seen.refusal = str(verdict.get("message", "")).partition(". ")[0] or "no word"
        node = pod["spec"].get("nodeName")
        if node and not seen.node:
            seen.node, seen.bound_at = node, now
            if seen.clique is None:
                self._foreign.setdefault(node, []).append((now, seen.name))

    def short(self, cliques: Iterable[str]) -> list[str]:
        """Return which of the gangs of these PodCliques do not have their minimum on nodes."""
        names = {self._of_clique[clique] for clique in cliques}
        return sorted(name for name in names if not _whole(self._gangs[name], self._placed(name)))

    def _placed(self, name: str) -> dict[str, list[str]]:
        placed: dict[str, list[str]] = {}
        for seen in self._members.get(name, {}).values():
            if seen.lives and seen.node:
                placed.setdefault(str(seen.clique), []).append(seen.node)
        return placed

    def _look(self, name: str, now: float) -> None:
        gang, placed = self._gangs[name], self._placed(name)
        if placed and not _whole(gang, placed):
            self._partial_since.setdefault(name, now)
        else:
            self._end_partial(name, now)
        for scope in gang.scopes:
            domains = {self._domain(scope.label, node) for clique in scope.cliques for node in placed.get(clique, ())}
            if name not in self._wrong and (len(domains) > 1 or None in domains):
                text = f"{name}: {scope.label} of its pods is {sorted(map(str, domains))}"
                self._wrong[name] = "\n  ".join([text, *self._described(name, scope, now)])

    def _described(self, name: str, scope: Scope, now: float) -> list[str]:
        """Return a line for each pod of the scope that is not gone: where it is, and what is known of it."""
        mine = [seen for seen in self._members[name].values() if seen.clique in scope.cliques and not seen.gone]
        return [seen.describe(self._domain(scope.label, seen.node or ""), now) for seen in sorted(mine, key=_named)]

    def _end_partial(self, name: str, now: float) -> None:
        since = self._partial_since.pop(name, None)
        if since is not None:
            self._longest[name] = max(self._longest.get(name, 0.0), now - since)

    def _domain(self, label: str, node: str) -> str | None:
        return (self.labels.get(node) or {}).get(label)

    def partial_now(self) -> list[str]:
        """Return the gangs that have a part of their minimum on nodes."""
        return sorted(self._partial_since)

    def verdict(self, wanted: Mapping[str, int], decisions: Mapping[str, str], now: float) -> Verdict:
        """Judge a cluster at rest.

        `wanted` is how many pods each PodClique should have running, `decisions` what PodGangs say: pod to node.
        """
        at_rest = self.partial_now()
        for name in list(at_rest):
            self._end_partial(name, now)
        slow = [n for n, seconds in self._longest.items() if seconds > SHORT_OF_WHOLE_SECONDS and n not in at_rest]
        partial = [f"{name}: a part of its minimum has nodes at the end" for name in at_rest]
        partial += [f"{name}: it had a part of its minimum on nodes for {self._longest[name]:.0f} s" for name in slow]
        stuck = self.restless(wanted)
        released = [seen for seen in self.pods.values() if seen.clique is not None and (seen.pin or seen.node)]
        disagreements = [found for seen in released if (found := self._disagreement(seen, decisions)) is not None]
        longest = max(self._longest.values(), default=0.0)
        return Verdict(partial, list(self._wrong.values()), stuck, disagreements, len(released), longest)

    def restless(self, wanted: Mapping[str, int]) -> list[str]:
        """Return what is not as it should be: pods that do not run, are ending, are missing or too many. O(pods).

        A pod above the minimum of its gang may wait while no node that the gang may use has room for it.
        """
        running: dict[str, int] = {}
        found = []
        free = self._free()
        for seen in self.pods.values():
            if seen.gone:
                continue
            if seen.going:
                found.append(f"{seen.name} is still terminating")
            elif not seen.node and self._has_no_room(seen, free):
                running[str(seen.clique)] = running.get(str(seen.clique), 0) + 1
            elif not seen.ready:
                found.append(
                    f"{seen.name} does not run (node {seen.node}, pin {seen.pin}, {seen.refusal or 'no refusal'})"
                )
            elif seen.clique is not None:
                running[seen.clique] = running.get(seen.clique, 0) + 1
        for clique in sorted({*wanted, *running}):
            have, want = running.get(clique, 0), wanted.get(clique, 0)
            if have != want:
                found.append(f"{clique} runs {have} of {want} pods")
        return found

    def _asked(self, pod: Object) -> int:
        each = (c.get("resources", {}).get("requests", {}) for c in pod["spec"]["containers"])
        return sum(int(requests.get(self.scarce, 0)) for requests in each)

    def _free(self) -> dict[str, int]:
        free = dict(self.room)
        for seen in self.pods.values():
            if seen.node in free and not seen.gone:
                free[seen.node] -= seen.asks
        return free

    def _has_no_room(self, seen: Seen, free: Mapping[str, int]) -> bool:
        name = self._of_clique.get(str(seen.clique))
        placed = self._placed(name) if name else {}
        if name is None or not placed or not _whole(self._gangs[name], placed):
            return False
        nodes = set(free)
        for scope in self._gangs[name].scopes:
            if seen.clique in scope.cliques:
                homes = {self._domain(scope.label, node) for clique in scope.cliques for node in placed.get(clique, ())}
                nodes = {node for node in nodes if self._domain(scope.label, node) in homes}
        return all(free[node] < seen.asks for node in nodes)

    def _disagreement(self, seen: Seen, decisions: Mapping[str, str]) -> Disagreement | None:
        if seen.node and seen.node != seen.pin:
            why = "it was bound elsewhere" if seen.pin else "it was bound without a pin"
            return Disagreement(seen.name, seen.pin, seen.node, why, explained=False)
        if seen.node:
            decided = decisions.get(seen.name)
            if seen.lives and decided != seen.node:
                why = f"the PodGang says {decided}"
                return Disagreement(seen.name, seen.pin, seen.node, why, explained=False)
            return None
        reason, explained = self._why_unbound(seen)
        return Disagreement(seen.name, seen.pin, None, reason, explained)

    def _why_unbound(self, seen: Seen) -> tuple[str, bool]:
        if seen.clique in self._dismissed:
            return "the load took its set away while it was being placed", True
        if seen.disrupted:
            return "it was evicted for a gang of higher priority", True
        rivals = self._rivals(seen)
        if rivals:
            return f"{rivals} took the room ({seen.refusal})", True
        gang = self._of_clique.get(str(seen.clique), "")
        siblings = [other for other in self._members.get(gang, {}).values() if other is not seen and not other.node]
        if any(self._rivals(other) for other in siblings):
            return "its gang was taken back whole, since another member lost its room to a pod of others", True
        said = [f"nothing that was seen explains it ({seen.refusal or 'never refused'})"]
        return "\n  ".join([*said, *self._company(seen)]), False

    def _company(self, seen: Seen) -> list[str]:
        """Return a line for each pod on the pin's node from a minute before the pin, with its times counted from it."""
        lines = []
        for other in self.pods.values():
            if other.node == seen.pin and not (other.gone and other.gone_at < seen.pinned_at - 60.0):
                end = f"{other.gone_at - seen.pinned_at:+.1f} s" if other.gone else "the end"
                lines.append(f"{other.name} asks for {other.asks}: {other.bound_at - seen.pinned_at:+.1f} s to {end}")
        return lines

    def _rivals(self, seen: Seen) -> str:
        """Return the pods of others that came to its node from just before it was pinned, if it was refused there."""
        if not seen.refusal or not seen.pin:
            return ""
        return ", ".join(name for at, name in self._foreign.get(seen.pin, ()) if at >= seen.pinned_at - 5.0)


def _named(seen: Seen) -> str:
    return seen.name


def _whole(gang: Gang, placed: Mapping[str, list[str]]) -> bool:
    return all(len(placed.get(clique, ())) >= least for clique, least in gang.minimum.items())


def pinned(pod: Object) -> str | None:
    """Return the one node that a pod's required node affinity names, or None."""
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    named = {
        value
        for term in affinity.get("nodeSelectorTerms") or ()
        for each in term.get("matchFields") or ()
        if each["key"] == "metadata.name" and each["operator"] == "In"
        for value in each["values"]
    }
    return named.pop() if len(named) == 1 else None


def decisions(podgangs: Iterable[Object], annotation: str) -> dict[str, str]:
    """Return what PodGangs say was decided: pod to node."""
    found: dict[str, str] = {}
    for gang in podgangs:
        found.update(json.loads((gang["metadata"].get("annotations") or {}).get(annotation) or "{}"))
    return found
