"""Pods that look at each other: whatever the order in which kube-scheduler binds the pins, it refuses none for good."""

import itertools
import random

import pytest

from grovekeeper.placement import place, request
from tests.placement import affine, binder

SEEDS = 300
TINY = 150
SHARE = 0.97
"""Of the gangs that fit by looking at all answers: 0.988 of 3,000 cases."""


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_kube_scheduler_binds_every_pin_in_every_order(first: int) -> None:
    for seed in range(first, first + 100):
        case = affine.case(seed, nodes=9, pods=9)
        found = place.place(case.gang, case.room())
        if isinstance(found, request.Placement):
            fault = faults(case, dict(found.nodes), seed)
            assert not fault, f"case {seed}: {fault}"


def faults(case: affine.Case, nodes: dict[str, str], seed: int) -> str:
    """Return what is wrong with an answer: nothing where kube-scheduler would bind all of it."""
    pods = case.pinned(nodes)
    for group in case.gang.groups:
        here = sum(name == group.name for name, _node in case.gang.fixed.values())
        if sum(pod.name in nodes for pod in group.pods) + here < group.minimum:
            return f"{group.name} is short of its minimum"
    if not case.packed(nodes):
        return f"a required level is broken: {nodes}"
    for turn in range(5):
        cluster = case.cluster()
        firsts = {pod.name for pod in pods if pod.means_itself() and not binder.known(pod, cluster.bound)}
        never, refusals = binder.bind(cluster, pods, random.Random(seed * 5 + turn))
        if never:
            return f"never bound: {never} of {nodes}: {refusals}"
        waited = [text for text in refusals if text.split(":")[0] in firsts]
        if waited:
            return f"refused although it could be the first: {waited} of {nodes}"
    return ""


def test_a_gang_that_fits_is_found() -> None:
    there_is = found = 0
    for seed in range(TINY):
        case = affine.case(seed, nodes=5, pods=4)
        answer = place.place(case.gang, case.room())
        if isinstance(answer, request.Placement):
            assert not faults(case, dict(answer.nodes), seed), f"case {seed}"
        elif not fits(case):
            continue
        there_is += 1
        found += isinstance(answer, request.Placement)
    assert there_is > TINY / 3
    assert found / there_is >= SHARE, f"found {found} of {there_is}"


def fits(case: affine.Case) -> bool:
    """Return whether there is an answer for the minimum, by looking at all: nodes^pods."""
    pods = []
    for group in case.gang.groups:
        here = sum(name == group.name for name, _node in case.gang.fixed.values())
        pods += [pod.name for pod in group.pods[: max(0, group.minimum - here)]]
    ways = (dict(zip(pods, nodes, strict=True)) for nodes in itertools.product(case.nodes, repeat=len(pods)))
    return any(case.packed(way) and binder.safe(case.cluster(), case.pinned(way)) for way in ways)
