"""The queues of other schedulers that a set names. Source: Grove's labels and annotations."""

from collections.abc import Callable

from grovekeeper.api import names, raw

VOLCANO_DEFAULT = "default"
Named = list[tuple[int | None, str]]
"""(None, queue) where the set itself names one, (i, queue) where clique i does."""


def of_kai(obj: raw.Object) -> Named:
    """Return every queue of KAI's that a set names; a label counts before an annotation."""
    return _named(obj, _kai)


def of_volcano(obj: raw.Object) -> Named:
    """Return every queue of Volcano's that a set names."""
    return _named(obj, lambda entry: (entry.get("annotations") or {}).get(names.ANNOTATION_VOLCANO_QUEUE))


def kai(obj: raw.Object) -> str | None:
    """Return the queue of a set that validation has let pass."""
    return next((queue for _, queue in of_kai(obj)), None)


def volcano(obj: raw.Object) -> str:
    """Return the queue of a set that validation has let pass."""
    return next((queue for _, queue in of_volcano(obj)), VOLCANO_DEFAULT)


def _named(obj: raw.Object, read: Callable[[raw.Object], str | None]) -> Named:
    templates = ((obj.get("spec") or {}).get("template") or {}).get("cliques") or ()
    found = [(None, read(obj["metadata"])), *((position, read(entry)) for position, entry in enumerate(templates))]
    return [(position, queue) for position, queue in found if queue]


def _kai(entry: raw.Object) -> str | None:
    marks = entry.get("labels") or {}
    found: str | None = marks.get(names.KAI_QUEUE) or (entry.get("annotations") or {}).get(names.KAI_QUEUE)
    return found
