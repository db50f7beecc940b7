"""Which node has which row, and what nodes say of themselves: who may go there, which domain they are in.

Answers are kept until the nodes change: the pods of all gangs of a kind share one pass over the nodes.
"""

import numpy as np
import numpy.typing as npt

from grovekeeper.api import raw
from grovekeeper.placement import shape as shapes

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Nodes:
    """Nodes by row. A row is given once, and stays empty when its node has gone."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        """Row by name."""
        self.names: list[str | None] = []
        """Name by row; None where a row is empty."""
        self.epoch = 0
        """A number that changes when anything does that placement reads of nodes."""
        self._all: list[raw.Object | None] = []
        self._there: tuple[int, Ints] = (-1, np.zeros(0, dtype=np.int64))
        self._masks: dict[tuple[str, bool], tuple[int, Mask]] = {}
        self._refusals: dict[str, tuple[int, list[tuple[int, str]]]] = {}
        self._domains: dict[str, tuple[int, Ints, list[str]]] = {}

    def put(self, node: raw.Object) -> int | None:
        """Take in a node; return its row, or None where nothing has changed that placement reads."""
        name = node["metadata"]["name"]
        row = self.numbers.get(name)
        old = self._all[row] if row is not None else None
        if old is not None and row is not None and _same(old, node):
            self._all[row] = node
            return None
        if row is None:
            row = len(self.names)
            self.numbers[name] = row
            self.names.append(name)
            self._all.append(None)
        self._all[row] = node
        self.epoch += 1
        return row

    def remove(self, name: str) -> int | None:
        """Forget a node; return the row that it had."""
        row = self.numbers.pop(name, None)
        if row is not None:
            self.names[row] = None
            self._all[row] = None
            self.epoch += 1
        return row

    def rows(self) -> Ints:
        """Return the rows that hold a node."""
        if self._there[0] != self.epoch:
            found = np.flatnonzero(np.fromiter((n is not None for n in self._all), np.bool_, len(self._all)))
            self._there = (self.epoch, found.astype(np.int64))
        return self._there[1]

    def eligible(self, spec: raw.Object) -> Mask:
        """Return which nodes may take the pod at all: ready, tolerated, selected. Not to be changed.

        Cached by what decides it, so that the pods of all gangs of a kind share one pass over the nodes.
        """
        return self._mask(spec, in_service=False)

    def could(self, spec: raw.Object) -> Mask:
        """Return which nodes may take the pod when those that are cordoned or not ready are back. Not to be changed."""
        return self._mask(spec, in_service=True)

    def _mask(self, spec: raw.Object, *, in_service: bool) -> Mask:
        key = shapes.eligibility(spec), in_service
        known = self._masks.get(key)
        if known is not None and known[0] == self.epoch:
            return known[1]
        nodes = (node and shapes.in_service(node) if in_service else node for node in self._all)
        mask = np.fromiter(
            (node is not None and shapes.refusal(spec, node) is None for node in nodes),
            dtype=np.bool_,
            count=len(self._all),
        )
        if len(self._masks) > 512:
            self._masks.clear()
        self._masks[key] = (self.epoch, mask)
        return mask

    def refusals(self, spec: raw.Object) -> list[tuple[int, str]]:
        """Return row and reason of each node that may not take the pod whatever room it has. Not to be changed.

        Cached like `eligible`; O(nodes) the first time.
        """
        key = shapes.eligibility(spec)
        known = self._refusals.get(key)
        if known is not None and known[0] == self.epoch:
            return known[1]
        found = ((row, shapes.refusal(spec, node)) for row, node in enumerate(self._all) if node is not None)
        result = [(row, why) for row, why in found if why]
        if len(self._refusals) > 512:
            self._refusals.clear()
        self._refusals[key] = (self.epoch, result)
        return result

    def domains(self, key: str, height: int) -> tuple[Ints, list[str]]:
        """Return for a label key each row's domain number (-1: no such label) and the domains' names."""
        known = self._domains.get(key)
        if known is not None and known[0] == self.epoch:
            return known[1], known[2]
        numbers: dict[str, int] = {}
        ids = np.full(height, -1, dtype=np.int64)
        for row, node in enumerate(self._all):
            value = ((node or {}).get("metadata") or {}).get("labels", {}).get(key) if node else None
            if value is not None:
                ids[row] = numbers.setdefault(value, len(numbers))
        # Domains are numbered by name, so that ties do not depend on the order in which nodes were seen.
        names = sorted(numbers)
        place = {name: number for number, name in enumerate(names)}
        renumber = np.array([place[name] for name in numbers] or [0], dtype=np.int64)
        ids = np.where(ids >= 0, renumber[ids], -1)
        self._domains[key] = (self.epoch, ids, names)
        return ids, names


def _same(old: raw.Object, new: raw.Object) -> bool:
    """Return whether nothing that placement reads has changed: heartbeats must cost nothing."""
    return (
        old["metadata"].get("labels") == new["metadata"].get("labels")
        and old.get("spec") == new.get("spec")
        and (old.get("status") or {}).get("allocatable") == (new.get("status") or {}).get("allocatable")
        and shapes.ready(old) == shapes.ready(new)
    )
