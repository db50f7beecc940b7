"""An auditor of placements: reads nodes, pods and the ask, and says what is wrong with an answer.

Written after docs/placement.md, and from nothing of the placement engine's but the words of a question and an answer.
Affinity between pods is the business of `binder`; here only anti-affinity is looked at.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grovekeeper.placement import request

Object = dict[str, Any]
_HARD = ("NoSchedule", "NoExecute")


Turn = tuple[str | None, set[str]]
"""The domain into which something was placed, and those over which the skew was counted for it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Cliques that share a constraint, with the scopes around them (the broadest first)."""

    name: str
    groups: frozenset[str]
    required: str | None
    spread: tuple[request.Spread, ...] = ()
    peers: tuple[tuple[str, ...], ...] = ()
    family: str = ""
    around: tuple["Scope", ...] = ()
    clique: bool = False
    """Whether the spread is that of its pods, and not of itself."""

    def binding(self) -> list[str]:
        """Return the label keys of the levels of which all its pods share a domain."""
        spread = [rule.level for rule in self.spread if rule.required and not self.clique]
        return [key for key in (self.required, *spread) if key is not None]


@dataclass(slots=True)
class Audit:
    """One answer. `faults` is O(pods^2 + pods x nodes)."""

    nodes: Mapping[str, Object]
    pods: Sequence[Object]
    """Raw pods of everybody that are bound or nominated, the gang's fixed ones among them."""
    gang: request.GangAsk
    placed: Mapping[str, str]
    """The answer: pod to node."""
    group_of: dict[str, str] = field(default_factory=dict)
    ask_of: dict[str, request.PodAsk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in self.gang.groups:
            for pod in group.pods:
                self.group_of[pod.name], self.ask_of[pod.name] = group.name, pod

    def faults(self) -> list[str]:
        """Return what is wrong, a sentence each."""
        strangers = [name for name, node in self.placed.items() if name not in self.ask_of or node not in self.nodes]
        if strangers:
            return [f"nobody asked for {strangers}, or their nodes do not exist"]
        checks = (self._minimum, self._eligible, self._room, self._levels, self._spread, self._even, self._repelled)
        return [text for check in checks for text in check()]

    def domain_faults(self) -> list[str]:
        """Return what is wrong with the domains into which the pods go, a sentence each."""
        return [text for check in (self._levels, self._spread, self._even) for text in check()]

    def _minimum(self) -> Iterator[str]:
        for group in self.gang.groups:
            here = len(self._fixed({group.name})) + sum(self.group_of[name] == group.name for name in self.placed)
            if here < group.minimum:
                yield f"{group.name} has {here} of its minimum of {group.minimum}"

    def _eligible(self) -> Iterator[str]:
        for name, where in self.placed.items():
            ask = self.ask_of[name]
            if why := why_not(ask.spec, self.nodes[where]):
                yield f"{name} may not be on {where}: {why}"
            if where in self.gang.avoid:
                yield f"{name} is on {where}, which has refused the gang"
            if where in self.gang.closed and not (ask.held and ask.nominated == where):
                yield f"{name} is on {where}, which is kept for another gang"

    def _room(self) -> Iterator[str]:
        for where in set(self.placed.values()):
            used: Counter[str] = Counter()
            for pod in self.pods:
                used.update(requests(pod["spec"]) if self._counts(pod, where) else {})
            mine: Counter[str] = Counter()
            for name, node in self.placed.items():
                mine.update(requests(self.ask_of[name].spec) if node == where else {})
            offered = self.nodes[where]["status"]["allocatable"]
            for resource, amount in mine.items():
                most = 1 if resource.startswith("port") else int(offered.get(resource, 0))
                if amount + used[resource] > most:
                    yield f"{where}: {amount} + {used[resource]} of {most} {resource}"

    def _counts(self, pod: Object, where: str) -> bool:
        if pod["spec"].get("nodeName"):
            return bool(pod["spec"]["nodeName"] == where)
        return pod["status"]["nominatedNodeName"] == where and pod["spec"]["priority"] >= self.gang.priority

    def _levels(self) -> Iterator[str]:
        for scope in scopes(self.gang):
            if scope.required is None:
                continue
            there = [node for node in self._fixed(scope.groups) if node in self.nodes]
            fixed = {self._label(node, scope.required) for node in there}
            mine = {self._label(self.placed[name], scope.required) for name in self._new(scope.groups)}
            if mine and _torn(mine, fixed):
                yield f"{scope.name} is in {mine} of {scope.required}, with pods in {fixed} already"

    def _spread(self) -> Iterator[str]:
        every = [scope for scope in scopes(self.gang) if not scope.clique]
        for kin in self._families(every):
            new = [scope for scope in kin if self._new(scope.groups)]
            for rule in [rule for rule in kin[0].spread if rule.required]:
                rows = [*kin[0].peers, *(self._all(scope.groups) for scope in kin)]
                counts = Counter(d for each in rows for d in {self._label(node, rule.level) for node in each})
                turns: list[Turn] = []
                for scope in new:
                    mine = {
                        self._label(self.placed[name], rule.level)
                        for name in self._new(scope.groups)
                        if not self._stays(name)
                    }
                    before = {self._label(node, rule.level) for node in self._before(scope.groups)}
                    if mine and _torn(mine, before):
                        yield f"{scope.name} is spread as one: in {mine} of {rule.level}, with pods in {before} already"
                    elif mine and not before:
                        over = [self._domains(rule.level, scope, scope.around, ask.spec) for ask in self._asks(scope)]
                        turns.append((mine.pop(), set.intersection(*over)))
                yield from _uneven(kin[0].family or kin[0].name, rule, counts, turns)

    def _families(self, every: Sequence[Scope]) -> Iterator[list[Scope]]:
        for name in dict.fromkeys(scope.family or scope.name for scope in every):
            yield [scope for scope in every if name in (scope.family, scope.name)]

    def _even(self) -> Iterator[str]:
        for scope in scopes(self.gang):
            for rule in scope.spread if scope.clique else ():
                if rule.required:
                    counts = Counter(self._label(node, rule.level) for node in self._all(scope.groups))
                    binding = (*scope.around, scope)
                    turns = [
                        (
                            self._label(self.placed[name], rule.level),
                            self._domains(rule.level, scope, binding, self.ask_of[name].spec),
                        )
                        for name in self._new(scope.groups)
                        if not self._stays(name)
                    ]
                    yield from _uneven(scope.name, rule, counts, turns)

    def _repelled(self) -> Iterator[str]:
        mine = [(name, self.ask_of[name].labels, self.ask_of[name].spec, node) for name, node in self.placed.items()]
        others = [
            (pod["metadata"]["name"], pod["metadata"].get("labels") or {}, pod["spec"], where)
            for pod in self.pods
            if self._counts(pod, where := pod["spec"].get("nodeName") or pod["status"]["nominatedNodeName"])
        ]
        for one in mine:
            for two in [*mine, *others]:
                for key in repels(one[2], two[1]) + repels(two[2], one[1]) if one is not two else []:
                    here, there = self._label(one[3], key), self._label(two[3], key)
                    if here is not None and here == there:
                        yield f"{one[0]} and {two[0]} share {key} {here}"

    def _asks(self, scope: Scope) -> list[request.PodAsk]:
        """Return the pods of a scope's minimum that wait; all that wait where it has none."""
        groups = [group for group in self.gang.groups if group.name in scope.groups]
        needed = [p for g in groups for p in g.pods[: max(0, g.minimum - len(self._fixed({g.name})))]]
        return needed or [pod for group in groups for pod in group.pods]

    def _domains(self, level: str, scope: Scope, binding: Sequence[Scope], spec: Object) -> set[str]:
        """Return the domains with a node that may take a pod, inside the domains that bind a scope."""
        keys = [key for each in binding for key in each.binding()]
        anchor = self._all(scope.groups)
        inside = [
            node
            for node in self.nodes
            if all(self._label(node, k) in {self._label(a, k) for a in anchor} for k in keys)
        ]
        open_ = [node for node in inside if node not in self.gang.avoid]
        return {d for n in open_ if why_not(spec, self.nodes[n]) is None and (d := self._label(n, level)) is not None}

    def _label(self, node: str, key: str) -> str | None:
        found: str | None = ((self.nodes.get(node) or {}).get("metadata") or {}).get("labels", {}).get(key)
        return found

    def _fixed(self, groups: frozenset[str] | set[str]) -> list[str]:
        return [node for group, node in self.gang.fixed.values() if group in groups]

    def _stays(self, name: str) -> bool:
        """Return whether a pod is at the node that is held for it: it is not in the way of any skew."""
        return self.ask_of[name].held and self.placed[name] == self.ask_of[name].nominated

    def _before(self, groups: frozenset[str]) -> list[str]:
        """Return the nodes of pods that were there before, or stay where a node is held for them."""
        kept = [self.placed[name] for name in self._new(groups) if self._stays(name)]
        return [*(node for node in self._fixed(groups) if node in self.nodes), *kept]

    def _new(self, groups: frozenset[str]) -> list[str]:
        return [name for name in self.placed if self.group_of[name] in groups]

    def _all(self, groups: frozenset[str]) -> list[str]:
        found = [*self._fixed(groups), *(self.placed[name] for name in self._new(groups))]
        return [node for node in found if node in self.nodes]


def _uneven(name: str, rule: request.Spread, counts: Counter[str | None], turns: list[Turn]) -> Iterator[str]:
    """Tell where there is no order in which all could have been placed: the last one is taken away, and so on."""
    told = f"{name}: {dict(counts)} by {rule.level} of {turns}, maxSkew {rule.max_skew}"
    left = list(turns)
    while left:
        last = [
            (here, over)
            for here, over in left
            if here and counts[here] - min(counts[each] - (each == here) for each in {here, *over}) <= rule.max_skew
        ]
        if not last:
            yield told
            return
        gone = max(last, key=lambda turn: counts[turn[0]])
        left.remove(gone)
        counts[gone[0]] -= 1


def _torn(mine: set[str | None], before: set[str | None]) -> bool:
    """Return whether pods are not all in one domain, or (where pods are there already) not in one of theirs."""
    return None in mine or (not mine <= before if before else len(mine) > 1)


def scopes(gang: request.GangAsk) -> Iterator[Scope]:
    """Yield the gang, its subgangs and its cliques in this order."""
    every = frozenset(group.name for group in gang.groups)
    top = Scope("gang", every, gang.constraint.required, gang.spread, gang.spread_peers)
    yield top
    subs = {}
    for sub in gang.subgangs:
        found = Scope(
            f"subgang {sub.name}",
            frozenset(sub.groups),
            sub.constraint.required,
            sub.spread,
            sub.spread_peers,
            sub.family,
            (top,),
        )
        yield found
        subs.update(dict.fromkeys(sub.groups, found))
    for group in gang.groups:
        around = (top, subs[group.name]) if group.name in subs else (top,)
        yield Scope(
            f"group {group.name}",
            frozenset({group.name}),
            group.constraint.required,
            group.spread,
            around=around,
            clique=True,
        )


def why_not(spec: Object, node: Object) -> str | None:
    """Return why a node may not take a pod whatever room it has."""
    if not any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"]):
        return "not ready"
    taints = [t for t in node["spec"].get("taints", []) if t["effect"] in _HARD]
    if node["spec"].get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    bad = [t["key"] for t in taints if not any(x.get("key") == t["key"] for x in spec.get("tolerations", []))]
    if bad:
        return f"taint {bad}"
    labels = node["metadata"]["labels"]
    return None if all(labels.get(k) == v for k, v in spec.get("nodeSelector", {}).items()) else "selector"


def requests(spec: Object) -> dict[str, int]:
    """Return what a pod takes of a node, itself and host ports included."""
    total: Counter[str] = Counter(pods=1)
    for container in spec["containers"]:
        total.update({k: int(v) for k, v in container["resources"]["limits"].items() if int(v)})
        total.update({f"port {p['hostPort']}": 1 for p in container.get("ports", [])})
    return total


def repels(spec: Object, labels: Mapping[str, str]) -> list[str]:
    """Return the label keys under which a pod with this spec keeps away from one with these labels."""
    terms = (
        (spec.get("affinity") or {})
        .get("podAntiAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", [])
    )
    return [
        t["topologyKey"] for t in terms if all(labels.get(k) == v for k, v in t["labelSelector"]["matchLabels"].items())
    ]
