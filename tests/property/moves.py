"""What may happen to a set, its pods, its nodes and our processes; each move is a tuple that a failing test prints."""

import copy
from typing import Any

from hypothesis import strategies as st

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import caches
from tests.property import claims, domains, fleet
from tests.reconciler import world

Move = tuple[Any, ...]
STIR = 30
SMALL = st.integers(0, 5)
WHO = st.sampled_from(["worker 0", "worker 1", "dispatcher"])
KINDS = st.sampled_from(["pods", "pods", "podcliques", "podcliquescalinggroups", "podgangs", "resourceclaims"])
FEEDS = st.sampled_from(
    ["pods", "podcliques", "podcliquescalinggroups", "podgangs", "podcliquesets", "nodes", "resourceclaims"]
)
TROUBLE = st.lists(st.sampled_from(["refused", "lost", "unanswered", "late", "fine", "fine"]), min_size=1, max_size=12)
MOVES: st.SearchStrategy[Move] = st.one_of(
    st.tuples(st.just("scale set"), st.integers(0, 2)),
    st.tuples(st.just("scale clique"), SMALL, st.integers(0, 3)),
    st.tuples(st.just("scale group"), SMALL, st.integers(0, 3)),
    st.tuples(st.just("edit replicas"), st.sampled_from(["front", "pool"]), st.integers(2, 3)),
    st.tuples(st.just("update"), st.sampled_from(["front", "lead", "work"])),
    st.tuples(st.just("revert")),
    st.tuples(st.just("delete"), KINDS, SMALL),
    st.tuples(st.just("fail pod"), SMALL),
    st.tuples(st.just("evict pod"), SMALL),
    st.tuples(st.just("rival"), st.sampled_from(["comes", "goes"])),
    st.tuples(st.just("crowd"), st.sampled_from([0, 4, 8])),
    st.tuples(st.just("lose node"), SMALL),
    st.tuples(st.just("remove node"), SMALL),
    st.tuples(st.just("nodes back")),
    st.tuples(st.just("kill"), WHO, st.integers(0, 12), st.booleans()),
    st.tuples(st.just("move lead")),
    st.tuples(st.just("empty redis")),
    st.tuples(st.just("hold"), WHO, FEEDS),
    st.tuples(st.just("list again"), WHO, FEEDS),
    st.tuples(st.just("trouble"), WHO, TROUBLE),
    st.tuples(st.just("refuse pods"), st.integers(0, 1)),
    st.tuples(st.just("catch up")),
    st.tuples(st.just("delete set")),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 1.0, 5.0, 15.0, 40.0])),
    st.tuples(st.just("work"), st.integers(1, 3)),
)
SHAPES = st.fixed_dictionaries(
    {
        "least": st.sampled_from([1, 2]),
        "least_groups": st.sampled_from([1, 2]),
        "nodes": st.sampled_from([4, 8, 12, 20]),
        "settled": st.booleans(),
        "shares": st.booleans(),
        "asks": st.sampled_from(["nothing", *domains.ASKS]),
        "above": st.sampled_from([0, 0, 3]),
        "rooms": st.sampled_from([(2,), (2,), (3, 1, 2), (6, 2)]),
        "hold": st.sampled_from(["contended", "contended", "always", "never"]),
        "rival": st.sampled_from([10, 0]),
        "crowd": st.just(0),
    }
)
CROWDED = st.fixed_dictionaries(
    {
        "least": st.just(2),
        "least_groups": st.sampled_from([1, 2]),
        "nodes": st.sampled_from([10, 15]),
        "settled": st.just(False),
        "shares": st.just(False),
        "asks": st.sampled_from([*domains.ASKS]),
        "above": st.sampled_from([2, 4]),
        "rooms": st.sampled_from([(2,), (3, 1, 2), (4, 2)]),
        "hold": st.sampled_from(["contended", "always"]),
        "rival": st.sampled_from([10, 0]),
        "crowd": st.sampled_from([8, 16]),
    }
)
"""Little room, which pods of others take and give back all the time: decisions fall again and again, and are held."""
JOSTLING: st.SearchStrategy[Move] = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1.0, 5.0, 40.0])),
    st.tuples(st.just("work"), st.integers(1, 6)),
    st.tuples(st.just("crowd"), st.sampled_from([0, 8, 16])),
    st.tuples(st.just("rival"), st.sampled_from(["comes", "goes"])),
    st.tuples(st.just("scale clique"), SMALL, st.integers(2, 6)),
    st.tuples(st.just("scale group"), SMALL, st.integers(1, 3)),
    st.tuples(st.just("scale set"), st.integers(1, 2)),
    st.tuples(st.just("delete"), st.just("pods"), SMALL),
    st.tuples(st.just("evict pod"), SMALL),
    st.tuples(st.just("lose node"), SMALL),
    st.tuples(st.just("nodes back")),
    st.tuples(st.just("trouble"), WHO, TROUBLE),
    st.tuples(st.just("kill"), WHO, st.integers(0, 12), st.booleans()),
    st.tuples(st.just("hold"), WHO, FEEDS),
    st.tuples(st.just("catch up")),
)


def manifest(shape: dict[str, Any], name: str = "demo") -> raw.Object:
    """The set that a sequence begins with: front, and a group pool of lead and work; a CPU a pod.

    `above` is how many pods more than usual front has, beyond its minimum.
    """
    obj = world.podset(shape["kind"], name)
    cliques = obj["spec"]["template"]["cliques"]
    for clique in cliques:
        clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    cliques[0]["spec"]["replicas"] += shape["above"]
    cliques[0]["spec"]["minAvailable"] = cliques[2]["spec"]["minAvailable"] = shape["least"]
    obj["spec"]["template"]["podCliqueScalingGroups"][0]["minAvailable"] = shape["least_groups"]
    obj["spec"]["updateStrategy"] = {"type": shape["strategy"]}
    domains.ask(obj, shape["asks"])
    if shape["shares"]:
        claims.share(obj)
    return obj


class Sequence:
    """A fleet with a set from Git, and the moves."""

    def __init__(self, seed: int, shape: dict[str, Any]) -> None:
        self.fleet = fleet.Fleet(seed, hold=shape["hold"])
        self.git = manifest(shape)
        self._first = copy.deepcopy(self.git)
        self.rival = manifest(shape, "rival")
        for clique in self.rival["spec"]["template"]["cliques"]:
            clique["spec"]["podSpec"]["priority"] = shape["rival"]
        self._next = 0
        self._settled = shape["settled"]
        self.fleet.server.crowded = shape["crowd"]
        self._rooms = shape["rooms"]
        for _ in range(shape["nodes"]):
            self.add_node()

    def add_node(self, cpu: int | None = None) -> None:
        """Add a node of so many CPUs; by default of what the shape of the sequence says."""
        room = self._rooms[self._next % len(self._rooms)] if cpu is None else cpu
        self.fleet.server.node_in(f"n{self._next}", room, domains.labels(self._next))
        self._next += 1

    async def apply(self) -> None:
        """What a GitOps tool does."""
        server = self.fleet.server
        resource = resources.SETS[self.git["kind"]]
        live = server.of(resource.plural).get(("ns", "demo"))
        if live is None:
            await server.create(resource, copy.deepcopy(self.git))
        else:
            await server.patch(resource, "demo", "ns", {"spec": copy.deepcopy(self.git["spec"])}, type="merge")

    async def begin(self) -> None:
        """Apply the set; with `settled` let it come up before anything else happens."""
        await self.apply()
        self.fleet.server.stir = STIR
        await self.fleet.settle(fleet.ROUNDS if self._settled else 1)

    async def play(self, move: Move) -> None:
        """Do one move."""
        self.fleet.server.stir = STIR
        await getattr(self, "_" + move[0].replace(" ", "_"))(*move[1:])
        await self.fleet.settle(2)

    def _pick(self, plural: str, number: int) -> raw.Object | None:
        found = sorted(self.fleet.server.of(plural).items())
        return found[number % len(found)][1] if found else None

    async def _scale_set(self, count: int) -> None:
        self.git["spec"]["replicas"] = count
        await self.apply()

    async def _scale_clique(self, number: int, count: int) -> None:
        live = self._pick("podcliques", number)
        if live is None or (0 < count < live["spec"]["minAvailable"]):
            return  # the webhook refuses it
        if names.LABEL_SCALINGGROUP in live["metadata"]["labels"]:
            return
        await self._scale(resources.PODCLIQUES, live, count)

    async def _scale_group(self, number: int, count: int) -> None:
        live = self._pick("podcliquescalinggroups", number)
        if live is not None:
            await self._scale(resources.SCALINGGROUPS, live, count)

    async def _scale(self, resource: resources.Resource, live: raw.Object, count: int) -> None:
        body = {"spec": {"replicas": count}}
        await self.fleet.server.patch(resource, live["metadata"]["name"], "ns", body, type="merge")

    async def _edit_replicas(self, name: str, count: int) -> None:
        template = self.git["spec"]["template"]
        if name == "pool":
            template["podCliqueScalingGroups"][0]["replicas"] = count
        else:
            template["cliques"][0]["spec"]["replicas"] = count
        await self.apply()

    async def _update(self, name: str) -> None:
        for clique in self.git["spec"]["template"]["cliques"]:
            if clique["name"] == name:
                container = clique["spec"]["podSpec"]["containers"][0]
                container["image"] = f"model:{int(container['image'].partition(':')[2]) + 1}"
        await self.apply()

    async def _revert(self) -> None:
        pairs = zip(self.git["spec"]["template"]["cliques"], self._first["spec"]["template"]["cliques"], strict=True)
        for mine, first in pairs:
            mine["spec"]["podSpec"] = copy.deepcopy(first["spec"]["podSpec"])
        await self.apply()

    async def _delete(self, plural: str, number: int) -> None:
        live = self._pick(plural, number)
        if live is not None:
            await self.fleet.server.delete(caches.WATCHED[plural][0], live["metadata"]["name"], "ns")

    async def _fail_pod(self, number: int) -> None:
        bound = [p for p in self.fleet.server.live() if p["spec"].get("nodeName")]
        if bound:
            pod = bound[number % len(bound)]
            self.fleet.server.change("pods", pod, status={**(pod.get("status") or {}), "phase": "Failed"})

    async def _evict_pod(self, number: int) -> None:
        bound = [p for p in self.fleet.server.live() if p["spec"].get("nodeName")]
        if bound:
            await self.fleet.server.evict(bound[number % len(bound)]["metadata"]["name"], "ns")

    async def _rival(self, what: str) -> None:
        """A set of the same shape whose pods have a higher priority, and which takes what it needs from the first."""
        resource = resources.SETS[self.rival["kind"]]
        there = ("ns", "rival") in self.fleet.server.of(resource.plural)
        if what == "comes" and not there:
            await self.fleet.server.create(resource, copy.deepcopy(self.rival))
        elif what == "goes" and there:
            await self.fleet.server.delete(resource, "rival", "ns")

    async def _crowd(self, most: int) -> None:
        self.fleet.server.crowded = most

    async def _lose_node(self, number: int) -> None:
        live = self._pick("nodes", number)
        if live is not None:
            self._set_ready(live, "False")

    def _set_ready(self, node: raw.Object, word: str) -> None:
        status = {**node["status"], "conditions": [{"type": "Ready", "status": word}]}
        self.fleet.server.change("nodes", node, status=status)

    async def _remove_node(self, number: int) -> None:
        live = self._pick("nodes", number)
        if live is not None:
            self.fleet.server.remove("nodes", live)

    async def _nodes_back(self) -> None:
        for node in list(self.fleet.server.of("nodes").values()):
            self._set_ready(node, "True")
        for _ in range(2):
            self.add_node()

    async def _kill(self, who: str, calls: int, effect: bool) -> None:
        process = self._process(who)
        process.fuse = process.calls + calls, effect
        if calls == 0:
            process.alive = False

    async def _move_lead(self) -> None:
        self.fleet.move_lead()

    async def _empty_redis(self) -> None:
        self.fleet.empty_redis()

    async def _hold(self, who: str, plural: str) -> None:
        self._process(who).feeds[plural].held = True

    async def _list_again(self, who: str, plural: str) -> None:
        self._process(who).feeds[plural].list_again(self.fleet.server.of(plural).values())

    async def _trouble(self, who: str, what: list[str]) -> None:
        self._process(who).trouble = list(what)

    async def _refuse_pods(self, index: int) -> None:
        """A quota, say: pods of an index are not taken until everything catches up."""
        self.fleet.server.refuse = lambda plural, obj: (
            errors.Forbidden("quota") if plural == "pods" and plan.pod_index(obj) == index else None
        )

    async def _catch_up(self) -> None:
        self.fleet.server.refuse = lambda plural, obj: None
        for process in self.fleet.everybody():
            for feed in process.feeds.values():
                feed.held = False

    async def _delete_set(self) -> None:
        resource = resources.SETS[self.git["kind"]]
        await self.fleet.server.delete(resource, "demo", "ns")
        await self.fleet.settle(1)
        await self.apply()

    async def _wait(self, seconds: float) -> None:
        await self.fleet.advance(seconds)

    async def _work(self, rounds: int) -> None:
        await self.fleet.settle(rounds)

    def _process(self, who: str) -> Any:
        return self.fleet.watcher if who == "dispatcher" else self.fleet.workers[int(who[-1])]

    async def calm(self) -> None:
        """End every disturbance, give room enough, and let half an hour pass."""
        await self._catch_up()
        for process in self.fleet.everybody():
            process.fuse = None
            process.trouble = []
        while self.fleet.server.late:
            await self.fleet.server.land()
        self.fleet.server.disperse()
        await self._rival("goes")
        await self._crowd(0)
        await self._nodes_back()
        for _ in range(20):
            self.add_node(8)
        await self.apply()
        await self.fleet.advance(1800)
