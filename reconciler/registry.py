"""Which function reconciles which kind of key. Placement keys have a table of their own (one owner works them)."""

from collections.abc import Mapping

from grovekeeper.reconciler import cliques, groups, replicas, sets
from grovekeeper.reconciler.context import Reconcile

RECONCILERS: Mapping[str, Reconcile] = {
    "set": sets.reconcile,
    "setstatus": sets.reconcile_status,
    "replica": replicas.reconcile,
    "group": groups.reconcile,
    "clique": cliques.reconcile,
}
