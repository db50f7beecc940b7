"""Kinds of other schedulers: which are watched, and what their caches know. They may appear at any time, or never."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from grovekeeper.api import names, raw
from grovekeeper.kube import resources, store
from grovekeeper.kube.resources import Resource

GROUPS = {
    names.SCHEDULER_KAI: resources.KAI_PODGROUPS,
    names.SCHEDULER_VOLCANO: resources.VOLCANO_PODGROUPS,
    names.SCHEDULER_UPSTREAM: resources.PODGROUPS,
}
QUEUES = {names.SCHEDULER_KAI: resources.KAI_QUEUES, names.SCHEDULER_VOLCANO: resources.VOLCANO_QUEUES}
_WATCHED: Mapping[str, tuple[Resource, ...]] = {
    names.SCHEDULER_KAI: (resources.KAI_PODGROUPS, resources.KAI_QUEUES, resources.KAI_TOPOLOGIES),
    names.SCHEDULER_VOLCANO: (resources.VOLCANO_PODGROUPS, resources.VOLCANO_QUEUES),
    names.SCHEDULER_UPSTREAM: (resources.PODGROUPS,),
}


class Cache(Protocol):
    """What is known of a kind; kube.informer.Informer is one."""

    store: store.Store
    served: bool


@dataclass(slots=True)
class Caches:
    """The caches of the kinds of all enabled back ends."""

    by_mark: dict[str, Cache] = field(default_factory=dict)

    def of(self, resource: Resource) -> Cache | None:
        """Return the cache of a kind; None where its back end is not enabled or the kind is not served."""
        found = self.by_mark.get(mark(resource))
        return found if found is not None and found.served else None

    def get(self, resource: Resource, namespace: str | None, name: str) -> raw.Object | None:
        """Return one object as far as the cache knows."""
        found = self.of(resource)
        return found.store.get(namespace, name) if found is not None else None


def mark(resource: Resource) -> str:
    """Return `<plural>.<group>`: several kinds here are called podgroups."""
    return f"{resource.plural}.{resource.group}"


def watched(profiles: Iterable[str]) -> dict[str, Resource]:
    """Return the kinds to watch for enabled back ends, by mark."""
    return {mark(resource): resource for name in profiles for resource in _WATCHED.get(name, ())}
