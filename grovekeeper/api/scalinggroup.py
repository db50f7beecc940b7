"""PodCliqueScalingGroup: PodCliques that are scaled together, replica by replica."""

from pydantic import ConfigDict

from grovekeeper.api import model, podclique


class ScalingGroupSpec(model.Model):
    """Desired state of a PodCliqueScalingGroup."""

    replicas: model.Count = 1
    """Copies of its cliques."""
    minAvailable: model.Positive = 1
    """Replicas that belong to the base gang."""
    cliqueNames: list[str]
    """Cliques that scale together."""


class IndicesSelected(model.Model):
    """Replica indices that an update has chosen so far."""

    current: model.Count
    completed: list[int] | None = None


class GroupUpdate(model.Model):
    """Progress of an update in one scaling group."""

    updateStartedAt: model.Time | None = None
    updateEndedAt: model.Time | None = None
    podCliqueSetGenerationHash: str | None = None
    podGangSetGenerationHash: str | None = None
    updatedPodCliquesCount: model.Count = 0
    totalPodCliquesCount: model.Count = 0
    readyReplicaIndicesSelectedToUpdate: IndicesSelected | None = None


class ScalingGroupStatus(model.Model):
    """Observed state of a PodCliqueScalingGroup."""

    observedGeneration: model.Generation = -1
    replicas: model.Count = 0
    scheduledReplicas: model.Count = 0
    availableReplicas: model.Count = 0
    updatedReplicas: model.Count = 0
    selector: str | None = None
    conditions: model.Conditions | None = None
    lastErrors: list[podclique.LastError] | None = None
    currentPodCliqueSetGenerationHash: str | None = None
    currentPodGangSetGenerationHash: str | None = None
    updateProgress: GroupUpdate | None = None
    rollingUpdateProgress: GroupUpdate | None = None


class PodCliqueScalingGroup(model.Model):
    """The kind."""

    model_config = ConfigDict(extra="ignore")

    spec: ScalingGroupSpec
    status: ScalingGroupStatus | None = None
