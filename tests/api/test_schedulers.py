"""Which back end a set may choose, and what each refuses."""

from typing import Any

import jsonpatch
import pytest

from grovekeeper.api import defaults, names, queues
from grovekeeper.api.validate import podgangset, schedulers, verdict
from tests.builders import clique
from tests.builders import podgangset as build

T = "spec.template"
KAI, VOLCANO, UPSTREAM = names.SCHEDULER_KAI, names.SCHEDULER_VOLCANO, names.SCHEDULER_UPSTREAM
VOLCANO_QUEUE = names.ANNOTATION_VOLCANO_QUEUE
PACK = {"topologyConstraint": {"topologyName": "t", "pack": {"required": "rack"}}}
SPREAD = {"topologyConstraint": {"topologyName": "t", "spread": [{"domain": "rack"}]}}


def with_scheduler(name: str | None, part: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    found = part or clique("a")
    found["spec"]["podSpec"].update(pod)
    if name is not None:
        found["spec"]["podSpec"]["schedulerName"] = name
    return found


def a_set(*cliques: dict[str, Any], labels: Any = None, annotations: Any = None, **template: Any) -> dict[str, Any]:
    obj = build(*cliques, **template)
    for field, value in (("labels", labels), ("annotations", annotations)):
        if value:
            obj["metadata"][field] = value
    return obj


def faults(obj: dict[str, Any], old: dict[str, Any] | None = None, *enabled: str) -> list[tuple[str, str]]:
    context = verdict.Context(schedulers=enabled or names.SCHEDULERS)
    filled = jsonpatch.apply_patch(obj, defaults.default(obj))
    before = jsonpatch.apply_patch(old, defaults.default(old)) if old else None
    return [(e.path, e.text()) for e in podgangset.validate(filled, before, context).errors]


QUEUED = {"labels": {names.KAI_QUEUE: "q"}}
BAD = [
    pytest.param(
        a_set(with_scheduler("nobody")), f"{T}.cliques[0].spec.podSpec.schedulerName", "use one of", id="unknown"
    ),
    pytest.param(
        a_set(with_scheduler(KAI), clique("b"), **QUEUED),
        f"{T}.cliques[1].spec.podSpec.schedulerName",
        "a gang has one scheduler",
        id="two schedulers",
    ),
    pytest.param(
        a_set(with_scheduler(KAI)), f"metadata.labels[{names.KAI_QUEUE}]", "without a queue", id="kai without a queue"
    ),
    pytest.param(
        a_set(with_scheduler(KAI, {**clique("a"), "labels": {names.KAI_QUEUE: "r"}}), **QUEUED),
        f"{T}.cliques[0] {names.KAI_QUEUE}",
        "the set says q",
        id="two kai queues",
    ),
    pytest.param(
        a_set(
            with_scheduler(KAI, {**clique("a"), "annotations": {names.KAI_QUEUE: "r"}}),
            with_scheduler(KAI, {**clique("b"), "labels": {names.KAI_QUEUE: "s"}}),
        ),
        f"{T}.cliques[1] {names.KAI_QUEUE}",
        f"{T}.cliques[0] says r",
        id="two kai queues on cliques",
    ),
    pytest.param(
        a_set(with_scheduler(KAI), **QUEUED, **SPREAD),
        f"{T}.topologyConstraint.spread",
        "does not know spread",
        id="spread",
    ),
    pytest.param(
        a_set(with_scheduler(VOLCANO), **PACK),
        f"{T}.topologyConstraint",
        "takes no topology constraints",
        id="volcano pack",
    ),
    pytest.param(
        a_set(with_scheduler(VOLCANO), annotations={VOLCANO_QUEUE: "No_Queue"}),
        f"metadata.annotations[{VOLCANO_QUEUE}]",
        "lower-case",
        id="volcano queue's name",
    ),
    pytest.param(
        a_set(
            with_scheduler(VOLCANO, {**clique("a"), "annotations": {VOLCANO_QUEUE: "r"}}),
            annotations={VOLCANO_QUEUE: "q"},
        ),
        f"{T}.cliques[0] {VOLCANO_QUEUE}",
        "charged to one queue",
        id="two volcano queues",
    ),
    pytest.param(
        a_set({**with_scheduler(UPSTREAM), **PACK}),
        f"{T}.cliques[0].topologyConstraint",
        "default-scheduler and kai",
        id="pack",
    ),
    pytest.param(
        a_set(with_scheduler(UPSTREAM, priorityClassName="x"), with_scheduler(UPSTREAM, clique("b"))),
        f"{T}.cliques[1].spec.podSpec.priorityClassName",
        "one priority class",
        id="two priorities",
    ),
    pytest.param(
        a_set(with_scheduler(UPSTREAM, priorityClassName="x"), priorityClassName="y"),
        f"{T}.cliques[0].spec.podSpec.priorityClassName",
        "use y",
        id="another priority than the set's",
    ),
    pytest.param(
        a_set(with_scheduler(None, schedulingGroup={"podGroupName": "g"})),
        f"{T}.cliques[0].spec.podSpec.schedulingGroup",
        "remove it",
        id="a group of one's own",
    ),
]


@pytest.mark.parametrize(("obj", "path", "word"), BAD)
def test_each_back_end_refuses_what_it_cannot_do(obj: dict[str, Any], path: str, word: str) -> None:
    found = faults(obj)
    assert [p for p, text in found if word in text] == [path], found


@pytest.mark.parametrize(
    "obj",
    [
        a_set(clique("a")),
        a_set(with_scheduler("grovekeeper"), clique("b"), **PACK),
        a_set(with_scheduler(KAI), **QUEUED, **PACK),
        a_set(with_scheduler(KAI), annotations={names.KAI_QUEUE: "q"}),
        a_set(with_scheduler(KAI, {**clique("a"), "annotations": {names.KAI_QUEUE: "q"}})),
        a_set(with_scheduler(VOLCANO), annotations={VOLCANO_QUEUE: "a-queue.of.mine"}),
        a_set(with_scheduler(VOLCANO)),
        a_set(with_scheduler(UPSTREAM, priorityClassName="x"), priorityClassName="x"),
    ],
)
def test_good_choices_have_no_faults(obj: dict[str, Any]) -> None:
    assert faults(obj) == []


def test_spread_of_set_replicas_is_refused_to_other_schedulers() -> None:
    obj = a_set(with_scheduler(VOLCANO))
    obj["spec"]["replicaSpreadConstraints"] = [{"topologyKey": "rack", "maxSkew": 1}]
    assert [path for path, _ in faults(obj)] == ["spec.replicaSpreadConstraints"]


def test_a_back_end_that_is_not_enabled_is_refused_with_the_way_to_enable_it() -> None:
    ((path, text),) = faults(a_set(with_scheduler(KAI), **QUEUED), None, "default-scheduler")
    assert path.endswith("schedulerName")
    assert "schedulers.profiles" in text


def test_the_priority_of_a_podgroup_cannot_change() -> None:
    old, new = a_set(with_scheduler(UPSTREAM)), a_set(with_scheduler(UPSTREAM), priorityClassName="x")
    assert [path for path, _ in faults(new, old)] == [f"{T}.priorityClassName"]
    assert faults(a_set(with_scheduler(VOLCANO), priorityClassName="x"), a_set(with_scheduler(VOLCANO))) == []


def chosen(obj: dict[str, Any], old: dict[str, Any] | None, default: str) -> list[str | None]:
    filled = jsonpatch.apply_patch(obj, defaults.schedulers(obj, old, default))
    return [each["spec"]["podSpec"].get("schedulerName") for each in filled["spec"]["template"]["cliques"]]


def test_the_default_is_written_into_new_sets_and_moves_no_old_one() -> None:
    plain, named = a_set(clique("a"), clique("b")), a_set(with_scheduler(VOLCANO), clique("b"))
    assert chosen(plain, None, KAI) == [KAI, KAI]
    assert chosen(named, None, KAI) == [VOLCANO, KAI]
    assert chosen(plain, None, names.SCHEDULER_STOCK) == [None, None]
    assert chosen(plain, plain, KAI) == [None, None]
    old = a_set(with_scheduler(VOLCANO), with_scheduler(VOLCANO, clique("b")))
    assert chosen(plain, old, KAI) == [VOLCANO, VOLCANO]


def test_names_mean_back_ends() -> None:
    assert [schedulers.resolved(name) for name in (None, "", "grovekeeper", "default-scheduler")] == [
        names.SCHEDULER_STOCK
    ] * 4
    assert schedulers.resolved(KAI) == KAI


def test_queues_are_read_from_the_set_first() -> None:
    obj = a_set({**clique("a"), "labels": {names.KAI_QUEUE: "r"}}, **QUEUED)
    assert queues.kai(obj) == "q"
    assert queues.kai(a_set(clique("a"))) is None
    assert queues.volcano(a_set(clique("a"))) == queues.VOLCANO_DEFAULT
