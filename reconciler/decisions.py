"""What the placement owner decides from objects alone: what was decided before, whose turn it is, what to take back.

Pure: no clock, no calls. The shells around it are `cycle` and `release`.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import groups, naming, plan
from grovekeeper.placement import request
from grovekeeper.reconciler import pins

Order = tuple[bool, int, bool, str, int, str]
OUT_OF = "OutOf"
"""How a kubelet's reason begins where the room on its node is not what the pod asks for: OutOfcpu, OutOfpods."""
Pods = Mapping[str, Sequence[raw.Object]]
"""Pods of a gang by PodClique FQN."""
_PLAIN_CHARACTERS = 16_384
"""From this size on a decision is packed: all annotations of an object may have 262,144 characters, which pod and node
names of some 1,500 pods exceed."""
_PACKED = "zlib:"
BY_OTHERS = "pods of higher priority"
"""For whom a gang gave up its room whose pods another scheduler has preempted."""


def placement(live: raw.Object | None) -> dict[str, str]:
    """Return the persisted decision of a PodGang: pod name to node; empty where there is none that can be read."""
    return _annotated(live, names.ANNOTATION_PLACEMENT)


def left_out(answer: request.Placement) -> str | None:
    """Return what is to be said of the pods above the minimum for which there was no room."""
    return f"no room for {len(answer.left_out)} pods above the minimum" if answer.left_out else None


def placed(name: str, answer: request.Placement, levels: Mapping[str, str]) -> str:
    """Return what is to be said of a gang that has its nodes: how many, and the narrowest domain that they share.

    `levels` is topology domain to node label key, broadest first.
    """
    pods, nodes = len(answer.nodes), len({*answer.nodes.values()})
    text = f"{name}: placed, {pods} pod{'s'[: pods != 1]} on {nodes} node{'s'[: nodes != 1]}"
    shared = ((domain, answer.domains.get(key, ())) for domain, key in reversed([*levels.items()]))
    return text + next((f", {domain} {found[0]}" for domain, found in shared if len(found) == 1), "")


def reserved(live: raw.Object | None) -> dict[str, str]:
    """Return where the gang's pods were last: hostname to node."""
    return _annotated(live, names.ANNOTATION_RESERVED)


def preempted(live: raw.Object | None) -> str:
    """Return for whom a gang gave up its room and has none again; empty where it has, or was not preempted."""
    text: str = (((live or {}).get("metadata") or {}).get("annotations") or {}).get(names.ANNOTATION_PREEMPTED) or ""
    return text


def gave_way(live: raw.Object | None) -> str:
    """Return for which gang of ours (namespace/name) a gang gave up its room and has none again; empty otherwise."""
    found = preempted(live)
    return "" if found == BY_OTHERS else found


def annotations(
    decided: Mapping[str, str], known: Mapping[str, str], cliques: Iterable[raw.Object], score: float | None
) -> dict[str, str]:
    """Return what a PodGang says of a decision: pod name to node, and where the pods of its cliques were last.

    `known` is hostname to node; hostnames that the cliques have no longer are left out. A score of None is not told.
    """
    wanted = {host for clique in cliques for host, _left in places(clique)}
    result = {
        names.ANNOTATION_PLACEMENT: _written(decided),
        names.ANNOTATION_RESERVED: _written({host: node for host, node in known.items() if host in wanted}),
    }
    return result if score is None else {**result, names.ANNOTATION_SCORE: str(score)}


def _written(nodes: Mapping[str, str]) -> str:
    text = json.dumps(nodes, sort_keys=True, separators=(",", ":"))
    if len(text) < _PLAIN_CHARACTERS:
        return text
    return _PACKED + b64encode(zlib.compress(text.encode())).decode()


def _read(text: str) -> object:
    """Return what `_written` was given. Raises ValueError for any other text."""
    if text.startswith(_PACKED):
        try:
            text = zlib.decompress(b64decode(text.removeprefix(_PACKED), validate=True)).decode()
        except zlib.error as error:
            raise ValueError(str(error)) from error
    return json.loads(text)


def succeeds(pod: raw.Object) -> bool:
    """Return whether a pod of ours holds, by its nomination, the node of the pod that it takes over from."""
    labels = pod["metadata"].get("labels") or {}
    return plan.predecessor(pod) is not None and labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY


def places(clique: raw.Object) -> Iterator[tuple[str, raw.Object]]:
    """Yield for every pod that a PodClique is to have its hostname, and what its metadata will say of it."""
    metadata = clique["metadata"]
    spec = clique["spec"]
    for index in range(groups.effective_replicas(spec.get("replicas", 1), spec.get("minAvailable") or 0)):
        host = naming.hostname(metadata["name"], index)
        marks = {names.LABEL_PODCLIQUE: metadata["name"], names.LABEL_POD_INDEX: str(index)}
        yield host, {"namespace": metadata["namespace"], "name": host, "labels": {**metadata["labels"], **marks}}


def place_of(pod: raw.Object) -> str | None:
    """Return the node that a living pod is on or was released to; None while it waits for a place."""
    if not plan.alive(pod):
        return None
    node: str | None = pod["spec"].get("nodeName")
    return node or (None if plan.gated(pod) else pins.pinned_to(pod))


def order(pods: Pods, base: str | None, name: str, *, has_minimum: bool) -> Order:
    """Return the order in which waiting gangs are tried.

    Those without their minimum, priority, base gangs, age; of those of one second (one set's, often) the largest first,
    since small ones find room beside large ones more often than the other way round; name.
    Nobody gets a pod above the minimum before all have been tried that lack theirs.
    """
    everyone = [pod for group in pods.values() for pod in group]
    priority = max((pod["spec"].get("priority") or 0 for pod in everyone), default=0)
    created = min((pod["metadata"].get("creationTimestamp", "") for pod in everyone), default="")
    return has_minimum, -priority, base is not None, created, -len(everyone), name


def competes(pod: raw.Object | None) -> bool:
    """Return whether a pod of others waits for a node and could take one that we have chosen."""
    if pod is None or pod["spec"].get("nodeName") or pod["spec"].get("schedulingGates") or not plan.alive(pod):
        return False
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY)


def held_priority(pod: raw.Object | None) -> int | None:
    """Return the priority of a pod of ours that has a node, also while it ends; None for any other."""
    if pod is None or not pod["spec"].get("nodeName") or plan.finished(pod):
        return None
    labels = pod["metadata"].get("labels") or {}
    if labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY:
        return None
    priority: int = pod["spec"].get("priority") or 0
    return priority


def released(pods: Pods) -> list[raw.Object]:
    """Return the living pods without our gate."""
    return [pod for group in pods.values() for pod in group if plan.alive(pod) and not plan.gated(pod)]


def loose(pods: Pods) -> list[raw.Object]:
    """Return the pods that were released and have no node yet."""
    return [pod for pod in released(pods) if not pod["spec"].get("nodeName")]


def doomed(pods: Pods, *, was_whole: bool) -> list[raw.Object]:
    """Return the pods to take back when the loose ones were not bound in time.

    A gang that was never whole is unwound whole, so that a part of it does not sit on nodes; of one that was, only the
    pods that found no room are replaced, and those that run go on.
    """
    return loose(pods) if was_whole else released(pods)


def refused_nodes(pods: Iterable[raw.Object]) -> set[str]:
    """Return the nodes that the scheduler has refused to pods pinned to them (a volume, a port that it knows of)."""
    found = set()
    for pod in pods:
        node = pins.pinned_to(pod)
        verdict = conditions.find((pod.get("status") or {}).get("conditions"), "PodScheduled")
        gated = verdict is not None and verdict.get("reason") == "SchedulingGated"  # by somebody else
        if node is not None and verdict is not None and verdict["status"] == "False" and not gated:
            found.add(node)
    return found


def turned_away(pod: raw.Object | None) -> str:
    """Return the reason for which a kubelet refused to run a pod that was bound to its node; empty for any other pod.

    Source: rejectPod of k8s.io/kubernetes/pkg/kubelet. No container of such a pod has ever run.
    """
    status = (pod or {}).get("status") or {}
    reason, text = str(status.get("reason") or ""), str(status.get("message") or "")
    refused = reason.startswith(OUT_OF) or (bool(reason) and text.startswith("Pod was rejected"))
    return reason if status.get("phase") == "Failed" and refused else ""


def was_met(
    clique: raw.Object,
    minimum: int,
    pods: Iterable[raw.Object],
    gang: Iterable[raw.Object],
    decided: Container[str] | None,
) -> bool:
    """Return whether a PodClique below its minimum has met it before, by what is left of its gang.

    For a gang that was whole for some seconds, of which no status tells: whoever saw it has died, or is another worker.
    The minimum of a gang is released at once. So where a pod of the gang got its node after the PodClique was made, all
    of its minimum was released with it, and what is not there any more, or came later, takes the place of a loss.

    `pods` are the PodClique's, `gang` all of its gang's; `decided` are the names of those with a place, in the order in
    which it is carried out one by one; None where another scheduler places, which binds none before all are released.
    """
    created = clique["metadata"].get("creationTimestamp", "")
    known = (pod for pod in gang if plan.alive(pod) and pod["spec"].get("nodeName"))
    stamps = (plan.scheduled_at(pod) for pod in known if decided is None or pod["metadata"]["name"] in decided)
    first = min((stamp for stamp in stamps if stamp is not None and stamp >= created), default=None)
    if first is None:
        return False
    there = 0
    for pod in filter(plan.alive, pods):
        metadata = pod["metadata"]
        on_its_way = decided is not None and metadata["name"] in decided and metadata["creationTimestamp"] <= first
        there += bool(pod["spec"].get("nodeName")) or not plan.gated(pod) or on_its_way
    return there < minimum


def raced(loose: Iterable[raw.Object], has_room: Callable[[raw.Object, str], bool]) -> list[raw.Object]:
    """Return the pods that the scheduler has refused since somebody else took their room, which it does not clear.

    A refusal without a reason in the snapshot (a volume, a port) may pass: those pods get the whole patience.
    """
    found = []
    for pod in loose:
        node = pins.pinned_to(pod)
        clearing = (pod.get("status") or {}).get("nominatedNodeName")
        if node is not None and not clearing and refused_nodes([pod]) and not has_room(pod["spec"], node):
            found.append(pod)
    return found


def _annotated(live: raw.Object | None, key: str) -> dict[str, str]:
    text = (((live or {}).get("metadata") or {}).get("annotations") or {}).get(key)
    try:
        loaded = _read(text) if text else {}
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
