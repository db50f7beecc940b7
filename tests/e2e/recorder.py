"""Every state that a collection goes through, event by event: what is over between two looks is seen, too."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import orjson
import urllib3

from tests.e2e.world import GROVE, PATIENCE, Object, World, is_ready

_QUIET_SECONDS = 20.0
"""How long a watch that is behind may say nothing."""
CORE = "/api/v1"


class Recorder:
    """The objects of one kind in a scenario's namespace, from the moment it is made.

    It asks the API server's own history: each look goes on where the last one ended. A minute and a quarter without a
    look is too long for it.
    """

    def __init__(self, world: World, plural: str, group: str = GROVE) -> None:
        self._world = world
        self._path = world.path(plural, group=group)
        self._pool = urllib3.PoolManager(
            ca_certs=str(world.cluster.ca_file), timeout=_QUIET_SECONDS * PATIENCE, retries=False
        )
        listed = world.request("GET", self._path)
        self._version = str(listed["metadata"]["resourceVersion"])
        self._there = {obj["metadata"]["uid"]: obj for obj in listed["items"]}

    def look(self) -> Iterator[list[Object]]:
        """Yield the objects as they were after each event since the last look, up to how they are listed now."""
        listed = self._world.request("GET", self._path)["items"]
        wanted = {obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"] for obj in listed}
        if self._versions() == wanted:
            return
        with closing(self._events()) as events:
            for event in events:
                obj = event["object"]
                assert event["type"] != "ERROR", obj
                if event["type"] == "BOOKMARK":
                    continue
                self._version = obj["metadata"]["resourceVersion"]
                self._there[obj["metadata"]["uid"]] = obj
                if event["type"] == "DELETED":
                    del self._there[obj["metadata"]["uid"]]
                yield list(self._there.values())
                if self._versions() == wanted:
                    return

    def _versions(self) -> dict[str, str]:
        return {uid: obj["metadata"]["resourceVersion"] for uid, obj in self._there.items()}

    def _events(self) -> Generator[Object]:
        cluster = self._world.cluster
        url = f"{cluster.url}{self._path}?watch=true&resourceVersion={self._version}&timeoutSeconds=60"
        headers = {"Authorization": f"Bearer {cluster.token}"}
        with closing(self._pool.request("GET", url, headers=headers, preload_content=False)) as answer:
            assert answer.status == 200, answer.data
            rest = b""
            for chunk in answer.stream():
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(orjson.loads, lines)


def follow(
    world: World,
    change: Callable[[], object],
    fault: Callable[[Sequence[Object]], str],
    end: Callable[[], object],
    seconds: float,
) -> None:
    """Change something and wait for the end of what it sets off; `fault` says what is wrong with any state of the pods.

    The pods that it is given are also those that are being deleted. It returns nothing where all is as it should be.
    """
    record = Recorder(world, "pods", CORE)
    change()

    def look() -> object:
        for pods in record.look():
            said = fault(pods)
            assert not said, f"{said}:\n" + "\n".join(map(_line, pods))
        return end()

    world.wait(look, "the end of the update", seconds)
    look()


def up(pod: Object) -> bool:
    """Return whether a pod serves: it is ready, and nobody has deleted it."""
    return is_ready(pod) and not pod["metadata"].get("deletionTimestamp")


def one_at_a_time(before: Sequence[Object]) -> Callable[[Sequence[Object]], str]:
    """Return what finds fault with a state in which more is missing than a rolling update may take of these pods.

    Of one set replica at a time: a pod of each standalone clique, a replica of each scaling group.
    """
    parts = {pod["spec"]["hostname"]: _part(pod) for pod in before}

    def fault(pods: Sequence[Object]) -> str:
        missing = parts.keys() - {pod["spec"]["hostname"] for pod in pods if up(pod)}
        if len({parts[host][0] for host in missing}) > 1:
            return f"pods of two set replicas are missing: {sorted(missing)}"
        taken = {(parts[host][1], parts[host][2] or host) for host in missing}
        wholes = [whole for whole, _ in taken]
        if len(set(wholes)) < len(wholes):
            return f"two pods of a clique or two replicas of a group are missing: {sorted(missing)}"
        return ""

    return fault


def _part(pod: Object) -> tuple[str, str, str]:
    """Return the set replica of a pod, its scaling group or else its PodClique, and the index of the group replica."""
    labels = pod["metadata"]["labels"]
    whole = labels.get("grove.io/podcliquescalinggroup") or labels["grove.io/podclique"]
    index = labels.get("grove.io/podcliquescalinggroup-replica-index", "")
    return labels["grove.io/podgangset-replica-index"], whole, index


def _line(pod: Object) -> str:
    metadata, going = pod["metadata"], "is being deleted" if pod["metadata"].get("deletionTimestamp") else ""
    return f"{metadata['name']} {pod['spec'].get('hostname')} {pod['spec'].get('nodeName')} up={up(pod)} {going}"
