"""Edits, scaling and faults at random, at any moment: once they stop, everything is as it was last asked for."""

import copy
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import redis

from tests.e2e import statuses
from tests.e2e.world import Object, RefusedError, World, is_ready

pytestmark = pytest.mark.slow
SETS = ("red", "blue")
STEPS = 16
PAUSES = (0, 0, 0, 0.05, 0.2, 0.5, 1.0)
"""Seconds between two steps: most meet what the one before has begun."""


@pytest.mark.parametrize("seed", [1, 2])
def test_once_it_is_quiet_everything_is_as_it_was_last_asked_for(world: World, seed: int) -> None:
    world.add_nodes(70)
    churn = Churn(world, random.Random(seed))
    for name in SETS:
        churn.begin(name)
    for _ in range(STEPS):
        churn.step()
        time.sleep(churn.chance.choice(PAUSES))
    churn.quiet()
    try:
        world.wait(lambda: not churn.missing(), "what was asked for", 60)
    except AssertionError as error:
        raise AssertionError(f"{churn.missing()} after {churn.log}: {error}") from error
    before = {pod["metadata"]["uid"] for pod in world.pods()}
    world.stays(lambda: not churn.missing(), "what was asked for", 2)
    assert {pod["metadata"]["uid"] for pod in world.pods()} == before, "nothing is replaced any more"


@dataclass(slots=True)
class Asked:
    """What was last asked for of one set; its clique and group are scaled in replica 0 only."""

    manifest: Object
    replicas: int = 2
    clique: int = 2
    group: int = 2

    def pods(self) -> Counter[str]:
        """How many pods each PodClique is to have."""
        name = self.manifest["metadata"]["name"]
        found = Counter[str]()
        for index in range(self.replicas):
            found[f"{name}-{index}-pc-a"] = self.clique if index == 0 else 2
            for member in range(self.group if index == 0 else 2):
                found[f"{name}-{index}-sg-x-{member}-pc-b"] = 1
                found[f"{name}-{index}-sg-x-{member}-pc-c"] = 3
        return found


@dataclass(slots=True)
class Churn:
    """Takes steps by chance and keeps what they ask for."""

    world: World
    chance: random.Random
    asked: dict[str, Asked] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    _cordoned: set[str] = field(default_factory=set)
    _restart: threading.Thread | None = None

    def begin(self, name: str) -> None:
        """Apply a set of two replicas of ten pods, of which five are needed."""
        obj = self.world.wl2(replicas=2)
        obj["metadata"]["name"] = name
        # A gang that is given up comes back with the counts of its template: that is not what is asked here.
        obj["spec"]["template"]["terminationDelay"] = "4h"
        self.asked[name] = Asked(obj)
        self.world.apply(obj)

    def step(self) -> None:
        """Ask for something else, or break something."""
        name = self.chance.choice(SETS)
        scalings = self.scale_set, self.scale_clique, self.scale_group
        faults = self.lose_pod, self.turn_node, self.restart, self.empty_redis
        kind = self.chance.choice([*scalings, self.edit, self.edit_and_scale, *faults])
        self.log.append(f"{kind.__name__} {name}")
        kind(name)

    def scale_set(self, name: str) -> None:
        asked = self.asked[name]
        asked.replicas = asked.manifest["spec"]["replicas"] = self.chance.randint(1, 3)
        self._insist(lambda: self.world.scale("podgangsets", name, asked.replicas))

    def scale_clique(self, name: str) -> None:
        asked = self.asked[name]
        asked.clique = self.chance.randint(1, 4)
        self._insist(lambda: self.world.scale("podcliques", f"{name}-0-pc-a", asked.clique))

    def scale_group(self, name: str) -> None:
        asked = self.asked[name]
        asked.group = self.chance.randint(1, 3)
        self._insist(lambda: self.world.scale("podcliquescalinggroups", f"{name}-0-sg-x", asked.group))

    def edit(self, name: str) -> None:
        asked = self.asked[name]
        asked.manifest = copy.deepcopy(asked.manifest)
        cliques = asked.manifest["spec"]["template"]["cliques"]
        for clique in self.chance.sample(cliques, self.chance.randint(1, len(cliques))):
            value = str(self.chance.random())
            clique["spec"]["podSpec"]["containers"][0]["env"] = [{"name": "EDITION", "value": value}]
        self._insist(lambda: self.world.apply(asked.manifest))

    def edit_and_scale(self, name: str) -> None:
        self.edit(name)
        self.chance.choice([self.scale_clique, self.scale_group])(name)

    def lose_pod(self, _name: str) -> None:
        pods = self.world.pods()
        if pods:
            gone = self.chance.choice(pods)["metadata"]["name"]
            self._insist(lambda: self.world.delete_pod(gone), fine=404)

    def turn_node(self, _name: str) -> None:
        """Cordon a node, or uncordon it."""
        node = self.chance.choice(self.world.nodes)
        self._cordoned ^= {node}
        self.world.cordon(node, node in self._cordoned)

    def restart(self, _name: str) -> None:
        """Kill one of our processes and start it again, while the other steps go on."""
        self._restarted()
        component = self.world.installation.components[self.chance.choice(["webhook", "worker-0"])]

        def again() -> None:
            component.stop(kill=True)
            component.start()
            component.wait_ready()

        self._restart = threading.Thread(target=again)
        self._restart.start()

    def empty_redis(self, _name: str) -> None:
        with redis.Redis.from_url(self.world.installation.redis.url) as client:
            client.flushall()

    def quiet(self) -> None:
        """Take back what breaks things; what was asked for stays."""
        self._restarted()
        for node in self._cordoned:
            self.world.cordon(node, False)

    def missing(self) -> list[str]:
        """What is not as it was last asked for."""
        return [text for name in self.asked for text in self._missing(name)]

    def _missing(self, name: str) -> Iterator[str]:
        asked = self.asked[name]
        pods = [pod for pod in self.world.pods() if pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == name]
        there, wanted = Counter(pod["metadata"]["labels"]["grove.io/podclique"] for pod in pods), asked.pods()
        for clique in sorted(there | wanted):
            if there[clique] != wanted[clique]:
                yield f"{clique} has {there[clique]} pods, not {wanted[clique]}"
        editions = {
            clique["name"]: edition(clique["spec"]["podSpec"])
            for clique in asked.manifest["spec"]["template"]["cliques"]
        }
        for pod in pods:
            role = next(each for each in editions if pod["metadata"]["labels"]["grove.io/podclique"].endswith(each))
            if not is_ready(pod):
                yield f"{pod['metadata']['name']} is not ready"
            elif edition(pod["spec"]) != editions[role]:
                yield f"{pod['metadata']['name']} is of an earlier template"
        obj = self.world.get_set(name)
        status = statuses.of(obj)
        if not statuses.is_observed(obj):
            yield f"{name} has a change that has not been observed"
        for count in ("availableReplicas", "updatedReplicas"):
            if status.get(count) != asked.replicas:
                yield f"{name} says {count} {status.get(count)}, not {asked.replicas}"

    def _restarted(self) -> None:
        if self._restart is not None:
            self._restart.join()

    def _insist(self, request: Callable[[], object], *, fine: int = 0) -> None:
        """Make a request until it is taken: webhooks may be away, and a child may not be there yet."""

        def taken() -> bool:
            try:
                request()
            except RefusedError as error:
                if error.code not in (404, 409, 500, fine):
                    raise
                return error.code == fine
            return True

        self.world.wait(taken, f"the cluster to take {self.log[-1]}")


def edition(spec: Object) -> list[str]:
    """The mark of a template in a pod's spec."""
    entries = spec["containers"][0].get("env") or ()
    return [entry["value"] for entry in entries if entry["name"] == "EDITION"]
