"""What nodes offer and what is left of it: integer arrays, a row for each node and a column for each resource."""

from collections.abc import Mapping

import numpy as np

from grovekeeper.placement import nodes
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints

PODS = "pods"
MOST = 2**53
"""More of a resource than anybody means; keeps sums within 64 bits, whatever a quantity says."""


class Room:
    """The arrays. They have more rows than there are nodes, and grow with both."""

    def __init__(self, known: nodes.Nodes) -> None:
        self._nodes = known
        self.columns: dict[str, int] = {PODS: 0}
        """Column by resource."""
        self.free: Ints = np.zeros((0, 1), dtype=np.int64)
        self.total: Ints = np.zeros((0, 1), dtype=np.int64)
        self.resident: Ints = np.zeros((0, 1), dtype=np.int64)
        """What pods that every node has take of it: as long as the node is there, so are they."""
        self.tenants: Ints = np.zeros(0, dtype=np.int64)
        """Pods by row, those that every node has left out."""

    def grow(self, row: int) -> None:
        """See to it that the arrays have this row."""
        if row >= len(self.free):
            grown = max(64, len(self.free))
            width = len(self.columns)
            self.free = np.vstack([self.free, np.zeros((grown, width), dtype=np.int64)])
            self.total = np.vstack([self.total, np.zeros((grown, width), dtype=np.int64)])
            self.resident = np.vstack([self.resident, np.zeros((grown, width), dtype=np.int64)])
            self.tenants = np.append(self.tenants, np.zeros(grown, dtype=np.int64))

    def offer(self, row: int, offered: Mapping[str, int]) -> None:
        """Set what a node offers; what is free there is for the caller to count."""
        for resource in offered:
            self._column(resource)
        self.total[row] = 0
        for resource, amount in offered.items():
            self.total[row, self.columns[resource]] = max(0, min(amount, MOST))
        self.total[row, self._port_columns()] = 1

    def clear(self, row: int) -> None:
        """Empty the row of a node that has gone."""
        self.free[row] = 0
        self.total[row] = 0
        self.resident[row] = 0

    def vector(self, requests: Mapping[str, int]) -> Ints | None:
        """Return a request as a row; None where some resource is on no node at all."""
        for resource in requests:
            if resource.startswith(shapes.HOST_PORT):
                self._column(resource)
        vector = np.zeros(len(self.columns), dtype=np.int64)
        vector[0] = 1
        for resource, amount in requests.items():
            column = self.columns.get(resource)
            if column is None:
                return None
            vector[column] = min(amount, MOST)
        return vector

    def take(self, row: int, requests: shapes.Requests, sign: int) -> None:
        """Charge requests to a row, or give them back (-1)."""
        self.free[row, 0] -= sign
        for resource, amount in requests.items():
            column = self.columns.get(resource)
            if column is None:
                self._column(resource)
                column = self.columns[resource]
            self.free[row, column] -= sign * min(amount, MOST)

    def count(self, row: int, requests: shapes.Requests, sign: int, *, tenant: bool) -> None:
        """Charge a pod (or give it back) that came to stay: a tenant, or one that the node will always have."""
        self.take(row, requests, sign)
        if tenant:
            self.tenants[row] += sign
            return
        self.resident[row, 0] += sign
        for resource, amount in requests.items():
            self.resident[row, self.columns[resource]] += sign * min(amount, MOST)

    def _column(self, resource: str) -> None:
        if resource in self.columns:
            return
        self.columns[resource] = len(self.columns)
        column = np.zeros((len(self.free), 1), dtype=np.int64)
        if resource.startswith(shapes.HOST_PORT):
            column[list(self._nodes.numbers.values())] = 1
        self.free = np.hstack([self.free, column])
        self.total = np.hstack([self.total, column])
        self.resident = np.hstack([self.resident, np.zeros_like(column)])

    def _port_columns(self) -> list[int]:
        return [column for name, column in self.columns.items() if name.startswith(shapes.HOST_PORT)]
