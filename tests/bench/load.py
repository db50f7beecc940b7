"""The scale run: gangs arrive, a Deployment grows into their room and leaves it again, sets are scaled and deleted.

Used by the bench on the real control plane, and in small by the end-to-end suite on both clusters. What is expected
is kept in `wanted`; what happens is followed by a watch into the referee.
"""

import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import orjson

from grovekeeper.api import names
from tests.bench import mix, referee

Object = dict[str, Any]
_GROVE = "/apis/grove.io/v1alpha1"
_MERGE = "application/merge-patch+json"
_THREADS = 4
_REPORT_SECONDS = 15.0
_SHOWN = 30


class Background(Protocol):
    """Pods of somebody else on the same nodes: a Deployment, or what stands for one."""

    def scale(self, replicas: int) -> None:
        """Have so many pods."""


class Deployment:
    """A stock Deployment on a cluster with a controller manager."""

    def __init__(self, cluster: Any, place: mix.Place) -> None:
        self._cluster = cluster
        self._path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments"
        self._place = place
        self._there = False

    def scale(self, replicas: int) -> None:
        """Create it, or change its replicas."""
        obj = mix.background(self._place, replicas)
        if self._there:
            path = f"{self._path}/{obj['metadata']['name']}"
            self._cluster.request("PATCH", path, {"spec": {"replicas": replicas}}, _MERGE)
        else:
            self._cluster.request("POST", self._path, obj)
        self._there = True


class Watch:
    """Follows the pods of a namespace into the referee, in a thread of its own."""

    def __init__(self, cluster: Any, namespace: str, seen: referee.Referee) -> None:
        self.referee = seen
        self.lock = threading.Lock()
        self.events = 0
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True

    def progress(self) -> str:
        """Return how far pods are: of gangs and of others."""
        lines = []
        for title, of_gangs in (("gangs", True), ("others", False)):
            pods = [pod for pod in self.referee.pods.values() if pod.lives and (pod.clique is not None) is of_gangs]
            released, bound = sum(1 for p in pods if p.pin), sum(1 for p in pods if p.node)
            ready = sum(1 for p in pods if p.ready)
            lines.append(f"{title}: {len(pods)} pods, {released} released, {bound} bound, {ready} ready")
        return f"{self.events} events; {'; '.join(lines)}"

    def check(self) -> None:
        """Raise what ended the watch, if anything did: a blind referee finds nothing."""
        if self._failure is not None:
            raise RuntimeError("the watch of pods has failed") from self._failure

    def _run(self) -> None:
        try:
            version = self._cluster.request("GET", f"{self._path}?limit=1")["metadata"]["resourceVersion"]
            while not self._ending:
                version = self._follow(version)
        except Exception as error:
            if not self._ending:
                self._failure = error

    def _follow(self, version: str) -> str:
        """Read one connection to its end and return the version to go on from; servers close those that lag."""
        context = ssl.create_default_context(cafile=str(self._cluster.ca_file))
        url = f"{self._cluster.url}{self._path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
        request = urllib.request.Request(url)
        request.add_header("Authorization", f"Bearer {self._cluster.token}")
        with urllib.request.urlopen(request, context=context) as stream:
            for line in stream:
                if self._ending:
                    break
                version = self._take(orjson.loads(line))
        return version

    def _take(self, event: Object) -> str:
        if event["type"] == "ERROR":
            raise RuntimeError(json.dumps(event["object"]))
        with self.lock:
            self.events += 1
            if event["type"] != "BOOKMARK":
                self.referee.see(event["type"], event["object"], time.monotonic())
        return str(event["object"]["metadata"]["resourceVersion"])


@dataclass(slots=True)
class Size:
    """How large a run is. Background counts are replicas of two GPUs each."""

    nodes: int
    pods: int
    largest: int
    background: tuple[int, int, int]
    """At the start, at the height, at the end."""
    patience: float
    """Seconds for each wait."""
    cycles: int = 1
    """Of churn."""


@dataclass(slots=True)
class Load:
    """One run. `say` gets a line at the end of each part, and one now and then in between."""

    cluster: Any
    place: mix.Place
    size: Size
    background: Background
    say: Callable[[str], None]
    meter: Callable[[], str] = str
    """Returns what is to be said after each cycle of churn."""
    wanted: dict[str, Object] = field(default_factory=dict)
    """Sets by name, as they should be now."""
    _watch: Watch = field(init=False)
    _others: int = 0

    def run(self, seed: int) -> referee.Verdict:
        """Do everything and return the verdict on it; raise TimeoutError where something does not come to rest."""
        labels = {}
        for node in self._made("/api/v1/nodes", mix.nodes(self.place, self.size.nodes)):
            labels[node["metadata"]["name"]] = node["metadata"]["labels"]
        for path, obj in mix.shared(self.place):
            self.cluster.request("POST", path, obj)
        low = mix.sets(self.place, self.size.pods * 4 // 5, seed, prefix="l", priority="low", largest=self.size.largest)
        high = mix.sets(
            self.place,
            self.size.pods - sum(map(mix.count, low)),
            seed + 1,
            prefix="h",
            priority="high",
            largest=self.size.largest,
        )
        seen = referee.Referee(labels, dict.fromkeys(labels, mix.gpus(1)), mix.GPU)
        for obj in [*low, *high]:
            grown = mix.scaled(obj, obj["spec"]["replicas"] + 1)
            seen.expect(referee.gangs(grown, mix.LEVELS))
        self._watch = Watch(self.cluster, self.place.namespace, seen)
        with self._watch:
            self._arrive(low, high)
            for cycle in range(self.size.cycles):
                self._churn(low)
                self.say(f"after cycle {cycle + 1}: {self.meter()}")
            return self._judged()

    def _arrive(self, low: list[Object], high: list[Object]) -> None:
        start, height, end = self.size.background
        begin = time.monotonic()
        self._scale_background(start)
        self._rests("the background to run")
        self.say(f"background: {time.monotonic() - begin:.1f} s")
        begin = time.monotonic()
        half = len(low) // 2
        self._apply(low[:half])
        self._scale_background(height)
        self._apply(low[half:])
        self._apply(high)
        first = [fqn for obj in high for fqn in mix.cliques(obj)]
        self._until(lambda: not self._watch.referee.short(first), "the gangs of high priority to have their minimum")
        self.say(f"high priority runs: {time.monotonic() - begin:.1f} s")
        self._scale_background(end)
        self._rests("everything to run once the background has left")
        self.say(f"everything runs: {time.monotonic() - begin:.1f} s")

    def _churn(self, low: list[Object]) -> None:
        """Take every fifth set away, scale every fifth up and every fifth down, all at once; then undo it."""
        begin = time.monotonic()
        for number, obj in enumerate(low):
            name, replicas = obj["metadata"]["name"], obj["spec"]["replicas"]
            if number % 5 == 0:
                self._delete(name)
            elif number % 5 == 1:
                self._scale(name, replicas + 1)
            elif number % 5 == 2 and replicas > 1:
                self._scale(name, replicas - 1)
        self._rests("the churn to come to rest")
        again = [obj for number, obj in enumerate(low) if number % 5 == 0]
        self._apply(again)
        for obj in low:
            name, replicas = obj["metadata"]["name"], obj["spec"]["replicas"]
            if self.wanted[name]["spec"]["replicas"] != replicas:
                self._scale(name, replicas)
        self._rests("everything to be as before")
        self.say(f"churn: {time.monotonic() - begin:.1f} s")

    def _judged(self) -> referee.Verdict:
        path = f"/apis/scheduler.grove.io/v1alpha1/namespaces/{self.place.namespace}/podgangs"
        listed = self.cluster.request("GET", path)["items"]
        decided = referee.decisions(listed, names.ANNOTATION_PLACEMENT)
        with self._watch.lock:
            verdict = self._watch.referee.verdict(self._cliques(), decided, time.monotonic())
        what = "longest time for which a gang had only a part of its minimum on nodes"
        self.say(f"{what}: {verdict.longest_partial:.1f} s")
        return verdict

    def _cliques(self) -> dict[str, int]:
        return {fqn: pods for obj in self.wanted.values() for fqn, pods in mix.cliques(obj).items()}

    def _made(self, path: str, objects: Iterable[Object]) -> list[Object]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda obj: self.cluster.request("POST", path, obj), objects))

    def _apply(self, sets: Iterable[Object]) -> None:
        listed = list(sets)
        self.wanted.update({obj["metadata"]["name"]: obj for obj in listed})
        self._made(self._path(), listed)

    def _scale(self, name: str, replicas: int) -> None:
        before = mix.cliques(self.wanted[name])
        self.wanted[name] = mix.scaled(self.wanted[name], replicas)
        self._dismiss(before.keys() - mix.cliques(self.wanted[name]).keys())
        self.cluster.request("PATCH", self._path(name), {"spec": {"replicas": replicas}}, _MERGE)

    def _delete(self, name: str) -> None:
        self._dismiss(mix.cliques(self.wanted.pop(name)).keys())
        self.cluster.request("DELETE", self._path(name))

    def _dismiss(self, cliques: Iterable[str]) -> None:
        with self._watch.lock:
            self._watch.referee.dismiss(cliques)

    def _scale_background(self, replicas: int) -> None:
        self._others = replicas
        self.background.scale(replicas)

    def _path(self, name: str = "") -> str:
        return f"{_GROVE}/namespaces/{self.place.namespace}/podgangsets" + (f"/{name}" if name else "")

    def _rests(self, what: str) -> None:
        wanted = self._cliques()

        def there() -> bool:
            others = [pod for pod in self._watch.referee.pods.values() if pod.clique is None and pod.lives]
            return len(others) == self._others and not self._watch.referee.restless(wanted)

        self._until(there, what)

    def _until(self, check: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.size.patience
        report = time.monotonic() + _REPORT_SECONDS
        while True:
            with self._watch.lock:
                self._watch.check()
                if check():
                    return
                if time.monotonic() > report:
                    self.say(f"  {self._watch.progress()}")
                    report += _REPORT_SECONDS
                if time.monotonic() > deadline:
                    found = self._watch.referee.restless(self._cliques())
                    text = f"waited {self.size.patience:.0f} s for {what}; {len(found)} are not: {found[:_SHOWN]}"
                    raise TimeoutError("\n".join([text, *self._unplaced()]))
            time.sleep(0.25)

    def _unplaced(self) -> list[str]:
        """Return what PodGangs say that have no nodes, those of high priority first."""
        path = f"/apis/scheduler.grove.io/v1alpha1/namespaces/{self.place.namespace}/podgangs"
        lines = []
        for gang in self.cluster.request("GET", path)["items"]:
            status = gang.get("status") or {}
            said = {c["type"]: (c["status"], c["message"]) for c in status.get("conditions") or ()}
            if said.get("Scheduled", ("False", ""))[0] != "True":
                lines.append(f"{gang['metadata']['name']} {status.get('phase')}: {said.get('Scheduled')}")
        return [f"{len(lines)} PodGangs are not scheduled", *sorted(lines)[:_SHOWN]]
