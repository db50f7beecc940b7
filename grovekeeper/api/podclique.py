"""PodClique: a set of pods with one template and one role."""

from typing import Annotated

from pydantic import ConfigDict, Field

from grovekeeper.api import model


class AutoScalingConfig(model.Model):
    """Bounds and metrics of the HorizontalPodAutoscaler that Grovekeeper keeps."""

    minReplicas: model.Count | None = None
    """Lower bound; not below minAvailable."""
    maxReplicas: model.Positive
    """Upper bound."""
    metrics: Annotated[list[model.MetricSpec] | None, Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = (
        None
    )
    """Metrics of autoscaling/v2."""


class PodCliqueSpec(model.Model):
    """Desired state of a PodClique; also the `spec` of a clique template."""

    roleName: Annotated[str, Field(max_length=253)] = ""
    """What the pods do, such as prefill; unique in the set."""
    podSpec: model.PodSpec
    """The pods; a PodSpec of Kubernetes."""
    replicas: model.Count = 1
    """Pods of the clique."""
    minAvailable: model.Count | None = None
    """Pods that the gang needs; replicas where it is left out."""
    startsAfter: list[str] | None = None
    """Cliques of which minAvailable pods must be ready first (startup type Explicit)."""
    autoScalingConfig: AutoScalingConfig | None = None
    """Autoscaling of the clique; for cliques in no group."""


class LastError(model.Model):
    """One error of the last reconciles."""

    code: str
    description: str
    observedAt: model.Time


class PodsSelected(model.Model):
    """Ready pods that an update has chosen so far."""

    current: str
    completed: list[str] | None = None


class CliqueUpdate(model.Model):
    """Progress of an update in one PodClique."""

    updateStartedAt: model.Time | None = None
    updateEndedAt: model.Time | None = None
    podCliqueSetGenerationHash: str | None = None
    podGangSetGenerationHash: str | None = None
    podTemplateHash: str = ""
    readyPodsSelectedToUpdate: PodsSelected | None = None


class PodCliqueStatus(model.Model):
    """Observed state of a PodClique."""

    observedGeneration: model.Generation = -1
    replicas: model.Count = 0
    readyReplicas: model.Count = 0
    updatedReplicas: model.Count = 0
    scheduleGatedReplicas: model.Count = 0
    scheduledReplicas: model.Count = 0
    hpaPodSelector: str | None = None
    conditions: model.Conditions | None = None
    lastErrors: list[LastError] | None = None
    currentPodTemplateHash: str | None = None
    currentPodCliqueSetGenerationHash: str | None = None
    currentPodGangSetGenerationHash: str | None = None
    updateProgress: CliqueUpdate | None = None
    rollingUpdateProgress: CliqueUpdate | None = None


class PodClique(model.Model):
    """The kind."""

    model_config = ConfigDict(extra="ignore")

    spec: PodCliqueSpec
    status: PodCliqueStatus | None = None
