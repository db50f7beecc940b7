"""Pods that were seen, for what others see of them, and how often something has changed among those on nodes."""

from collections import Counter
from collections.abc import Iterable, Mapping

from grovekeeper.api import raw


class Crowd:
    """Pods by UID. Who looks at other pods (required affinity, either way) finds nothing new while `stirs` stays."""

    def __init__(self) -> None:
        self._pods: dict[str, raw.Object] = {}
        self._repelling: dict[str, raw.Object] = {}
        self._stirs: Counter[str] = Counter()

    def see(self, pod: raw.Object, *, charged: bool) -> raw.Object | None:
        """Take in a pod as it is now; return what was known of it. `charged`: whether it is on a node, or about to."""
        uid = pod["metadata"]["uid"]
        before = self._pods.get(uid)
        self._pods[uid] = pod
        if (pod["spec"].get("affinity") or {}).get("podAntiAffinity"):
            self._repelling[uid] = pod
        if charged and (before is None or _seen(before) != _seen(pod)):
            self.stir(uid)
        return before

    def forget(self, uid: str) -> None:
        """Forget a pod."""
        self._pods.pop(uid, None)
        self._repelling.pop(uid, None)

    def stir(self, uid: str) -> None:
        """Count that a pod came to its node, left it, or looks different there. One that was not seen is no peer."""
        pod = self._pods.get(uid)
        if pod is not None:
            self._stirs[pod["metadata"].get("namespace", "")] += 1

    def stirs(self, namespaces: Iterable[str] | None) -> int:
        """Return how often something has changed in some namespaces; in all where that is None."""
        return self._stirs.total() if namespaces is None else sum(self._stirs[name] for name in namespaces)

    def pods(self, *, repelling: bool) -> Mapping[str, raw.Object]:
        """Return all pods by UID, or those with required anti-affinity."""
        return self._repelling if repelling else self._pods


def _seen(pod: raw.Object) -> tuple[object, object]:
    """Return what others see of a pod: its labels, and whether it is bound."""
    return pod["metadata"].get("labels"), pod["spec"].get("nodeName")
