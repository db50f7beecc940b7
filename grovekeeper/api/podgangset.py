"""PodGangSet and PodCliqueSet: one model, two spellings (names.Dialect has the differences)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from grovekeeper.api import model, podclique

_PACK_GIVEN = {
    "rule": "has(self.required) || has(self.preferred)",
    "message": "pack needs required or preferred: name a domain of the ClusterTopologyBinding",
}
_CONSTRAINT_GIVEN = {
    "rule": "has(self.pack) || has(self.packDomain) || has(self.spread)",
    "message": "topologyConstraint needs pack (or spread): name the domain to pack into",
    "reason": "FieldValueRequired",
    "fieldPath": ".pack",
}
_ONE_SPELLING = {
    "rule": "!(has(self.packDomain) && has(self.pack) && has(self.pack.required))",
    "message": "packDomain is the old spelling of pack.required: give only pack.required",
    "reason": "FieldValueForbidden",
    "fieldPath": ".pack.required",
}
_NO_PACK_DOMAIN = [
    {
        "rule": f"oldSelf.hasValue() || !({expression})",
        "optionalOldSelf": True,
        "message": "packDomain is no longer accepted on new objects: write pack.required",
        "reason": "FieldValueForbidden",
        "fieldPath": path,
    }
    for expression, path in (
        (
            "has(self.spec.template.topologyConstraint) && has(self.spec.template.topologyConstraint.packDomain)",
            ".spec.template.topologyConstraint.packDomain",
        ),
        (
            "self.spec.template.cliques.exists(c, has(c.topologyConstraint) && has(c.topologyConstraint.packDomain))",
            ".spec.template.cliques",
        ),
        (
            "has(self.spec.template.podCliqueScalingGroups) && self.spec.template.podCliqueScalingGroups"
            ".exists(g, has(g.topologyConstraint) && has(g.topologyConstraint.packDomain))",
            ".spec.template.podCliqueScalingGroups",
        ),
    )
]


class Pack(model.Model):
    """Domains to pack into."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=model.rules(_PACK_GIVEN))

    required: model.Domain | None = None
    preferred: model.Domain | None = None


class SpreadRule(model.Model):
    """Spread of siblings over the domains of one level. Grovekeeper's own."""

    domain: model.Domain
    maxSkew: model.Positive = 1
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"


class TopologyConstraint(model.Model):
    """Where the pods of a level are to be; applies to each replica of the level separately."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=model.rules(_CONSTRAINT_GIVEN, _ONE_SPELLING))

    topologyName: str | None = None
    pack: Pack | None = None
    packDomain: model.Domain | None = None
    spread: Annotated[list[SpreadRule] | None, Field(max_length=8)] = None


class ClaimFilter(model.Model):
    """Which children share a claim."""

    childCliqueNames: list[str] | None = None
    childScalingGroupNames: list[str] | None = None


class ResourceSharing(model.Model):
    """A claim shared by the pods of a level."""

    name: str
    namespace: str | None = None
    scope: Literal["AllReplicas", "PerReplica"]
    filter: ClaimFilter | None = None


class ClaimMetadata(model.Model):
    """Labels and annotations of the claims that a template becomes."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ClaimTemplateSpec(model.Model):
    """A ResourceClaimTemplateSpec."""

    metadata: ClaimMetadata | None = None
    spec: model.ResourceClaimSpec


class ClaimTemplate(model.Model):
    """A claim template of the set's own."""

    name: str
    templateSpec: ClaimTemplateSpec


class CliqueTemplate(model.Model):
    """One clique of the set."""

    name: Annotated[str, Field(max_length=63)]
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    topologyConstraint: TopologyConstraint | None = None
    resourceSharing: list[ResourceSharing] | None = None
    spec: podclique.PodCliqueSpec


class GroupTemplate(model.Model):
    """One scaling group of the set."""

    name: Annotated[str, Field(max_length=63)]
    cliqueNames: list[str]
    annotations: dict[str, str] | None = None
    replicas: model.Count = 1
    minAvailable: model.Positive = 1
    scaleConfig: podclique.AutoScalingConfig | None = None
    resourceSharing: list[ResourceSharing] | None = None
    topologyConstraint: TopologyConstraint | None = None
    terminationDelay: model.Duration | None = None
    baseDomain: model.Domain | None = None
    """Grovekeeper's own: replicas above minAvailable go into the base gang's domain of this level, or wait."""


class HeadlessService(model.Model):
    """Settings of the headless Services."""

    publishNotReadyAddresses: bool = True


class NetworkPack(model.Model):
    """Cliques to place close to each other (first edition of the API)."""

    cliqueNames: list[str]


class SchedulingPolicy(model.Model):
    """Scheduling policy of the first edition of the API."""

    networkPackGroupConfigs: list[NetworkPack] | None = None


class SetTemplate(model.Model):
    """What one replica of the set consists of."""

    cliques: Annotated[
        list[CliqueTemplate],
        Field(max_length=64, json_schema_extra={**model.LIST_MAP, "x-kubernetes-list-map-keys": ["name"]}),
    ]
    cliqueStartupType: Literal["CliqueStartupTypeAnyOrder", "CliqueStartupTypeInOrder", "CliqueStartupTypeExplicit"] = (
        "CliqueStartupTypeAnyOrder"
    )
    priorityClassName: str | None = None
    headlessServiceConfig: HeadlessService | None = None
    topologyConstraint: TopologyConstraint | None = None
    schedulingPolicyConfig: SchedulingPolicy | None = None
    terminationDelay: model.Duration | None = None
    gangTermination: Literal["Enabled", "Disabled"] = "Enabled"
    resourceClaimTemplates: list[ClaimTemplate] | None = None
    resourceSharing: list[ResourceSharing] | None = None
    podCliqueScalingGroups: Annotated[
        list[GroupTemplate] | None,
        Field(max_length=64, json_schema_extra={**model.LIST_MAP, "x-kubernetes-list-map-keys": ["name"]}),
    ] = None


class UpdateStrategy(model.Model):
    """How a changed template reaches running pods."""

    type: Literal["RollingRecreate", "OnDelete", "Coherent"] = "RollingRecreate"
    maxUnavailable: model.Count | None = None
    maxSurge: model.Count | None = None
    paused: bool | None = None
    progressDeadlineSeconds: model.Positive | None = None


class SetSpec(model.Model):
    """Desired state of a set."""

    replicas: model.Count = 1
    updateStrategy: UpdateStrategy | None = None
    revisionHistoryLimit: model.Count | None = None
    replicaSpreadConstraints: list[model.TopologySpreadConstraint] | None = None
    template: SetTemplate


class Updating(model.Model):
    """The set replica that is being updated."""

    replicaIndex: model.Count
    updateStartedAt: model.Time | None = None
    updateEndedAt: model.Time | None = None


class SetUpdate(model.Model):
    """Progress of an update. `currentlyUpdating` is a list in both spellings; the last four are Grovekeeper's own."""

    updateStartedAt: model.Time | None = None
    updateEndedAt: model.Time | None = None
    updatedPodCliquesCount: model.Count = 0
    totalPodCliquesCount: model.Count = 0
    updatedPodCliqueScalingGroupsCount: model.Count = 0
    totalPodCliqueScalingGroupsCount: model.Count = 0
    currentlyUpdating: list[Updating] | None = None
    updatedPodsCount: model.Count = 0
    totalPodsCount: model.Count = 0
    surgeReplicas: model.Count = 0
    lastProgressTime: model.Time | None = None


class GangStatus(model.Model):
    """A gang that is not well."""

    name: str
    phase: Literal["Pending", "Starting", "Running", "Failed", "Succeeded"]
    conditions: list[model.Condition] | None = None


class SetStatus(model.Model):
    """Observed state of a set."""

    observedGeneration: model.Generation = -1
    conditions: model.Conditions | None = None
    replicas: model.Count = 0
    updatedReplicas: model.Count = 0
    availableReplicas: model.Count = 0
    hpaPodSelector: str | None = None
    podGangStatuses: list[GangStatus] | None = None
    currentGenerationHash: str | None = None
    updateProgress: SetUpdate | None = None
    rollingUpdateProgress: SetUpdate | None = None
    lastErrors: list[podclique.LastError] | None = None


class PodGangSet(model.Model):
    """The kind, in either spelling."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=model.rules(*_NO_PACK_DOMAIN))

    spec: SetSpec
    status: SetStatus | None = None
