"""What the house must know of a back end to hand a gang over to it."""

from collections.abc import Callable
from dataclasses import dataclass

from grovekeeper.api import raw
from grovekeeper.expand import labels, model


@dataclass(frozen=True, slots=True)
class Marks:
    """What a pod carries for its scheduler, besides what every member of a gang carries."""

    labels: dict[str, str]
    annotations: dict[str, str]
    spec: raw.Object
    """Fields of the pod's spec that are set, whatever the template says."""


@dataclass(frozen=True, slots=True)
class Pod:
    """Which pod is asked about."""

    clique: str
    """FQN of its PodClique."""
    gang: str
    index: int
    minimum: int
    """minAvailable of its PodClique."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One back end, as functions and the names of what is whose."""

    name: str
    api_version: str
    """Of the PodGroup kind."""
    marks: Callable[[Pod], Marks]
    group: Callable[[model.Workload, raw.Object, str | None], raw.Object]
    """From a set, a PodGang and the name of the scheduler's topology object to the PodGroup."""
    owned: tuple[str, ...]
    """Top-level fields of the PodGroup's spec that are ours; all others are the scheduler's, or the server's."""
    kept: tuple[str, ...]
    """Fields of ours that an existing PodGroup keeps: the scheduler may have changed them since."""
    kept_labels: tuple[str, ...]
    needed: str
    """Field of the spec that older versions of the kind lack and the gang's promise needs; "" for none."""
    why_not: Callable[[raw.Object], str | None]
    """From a PodGroup to what its scheduler says that the gang waits for."""
    joins: Callable[[raw.Object], bool]
    """Whether a pod counts as a member of the group."""
    gang_annotations: tuple[tuple[str, str], ...] = ()
    """Annotations that the PodGang itself gets."""
    next_step: str = ""
    """What to do where the kind is not served."""


def podgroup(backend_version: str, podgang: raw.Object, spec: raw.Object) -> raw.Object:
    """Return a PodGroup named like its PodGang, owned by it, with its labels and annotations."""
    metadata = podgang["metadata"]
    marks = metadata.get("annotations") or {}
    annotations = {key: value for key, value in marks.items() if not key.startswith("grovekeeper.io/")}
    return {
        "apiVersion": backend_version,
        "kind": "PodGroup",
        "metadata": labels.metadata(metadata["name"], metadata["namespace"], metadata["labels"], podgang, annotations),
        "spec": spec,
    }


def minimum(podgang: raw.Object) -> int:
    """Return how many pods the gang needs at least; never 0, which no scheduler takes."""
    total: int = sum(group["minReplicas"] for group in podgang["spec"]["podgroups"])
    return max(1, total)


def one_line(text: str | None) -> str:
    """Return a scheduler's message as one line, "" where there is none."""
    return " ".join((text or "").split())
