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
    """Domain of the topology that all pods must share; the gang waits until one has room."""
    preferred: model.Domain | None = None
    """Domain to try for, narrowest level first; wider ones do where it has no room."""


class SpreadRule(model.Model):
    """Spread of siblings over the domains of one level. Grovekeeper's own."""

    domain: model.Domain
    """Domain of the topology to spread over."""
    maxSkew: model.Positive = 1
    """How many more siblings one domain may have than another."""
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"
    """DoNotSchedule: wait for a domain that keeps the skew. ScheduleAnyway: place regardless."""


class TopologyConstraint(model.Model):
    """Where the pods of a level are to be; applies to each replica of the level separately."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=model.rules(_CONSTRAINT_GIVEN, _ONE_SPELLING))

    topologyName: str | None = None
    """ClusterTopologyBinding that says what the domains are; one for the whole set."""
    pack: Pack | None = None
    """Domains to pack the pods into."""
    packDomain: model.Domain | None = None
    """Old spelling of pack.required; not accepted on new objects."""
    spread: Annotated[list[SpreadRule] | None, Field(max_length=8)] = None
    """Domains to spread siblings over."""


class ClaimFilter(model.Model):
    """Which children share a claim."""

    childCliqueNames: list[str] | None = None
    """Cliques whose pods get the claim."""
    childScalingGroupNames: list[str] | None = None
    """Scaling groups whose pods get the claim."""


class ResourceSharing(model.Model):
    """A claim shared by the pods of a level."""

    name: str
    """A template of resourceClaimTemplates, or a ResourceClaimTemplate."""
    namespace: str | None = None
    """Namespace of the ResourceClaimTemplate; the set's own where it is left out."""
    scope: Literal["AllReplicas", "PerReplica"]
    """AllReplicas: one claim for all replicas of this level. PerReplica: one for each."""
    filter: ClaimFilter | None = None
    """Only these children share the claim; all where it is left out."""


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
    """Name by which resourceSharing refers to it."""
    templateSpec: ClaimTemplateSpec


class CliqueTemplate(model.Model):
    """One clique of the set."""

    name: Annotated[str, Field(max_length=63)]
    """Name in the set; part of the names of its PodCliques and pods."""
    labels: dict[str, str] | None = None
    """Labels of its PodCliques and pods."""
    annotations: dict[str, str] | None = None
    """Annotations of its PodCliques and pods."""
    topologyConstraint: TopologyConstraint | None = None
    """Where the pods of one PodClique are to be."""
    resourceSharing: list[ResourceSharing] | None = None
    """Claims that the pods of one PodClique share."""
    spec: podclique.PodCliqueSpec


class GroupTemplate(model.Model):
    """One scaling group of the set."""

    name: Annotated[str, Field(max_length=63)]
    """Name in the set; part of the names of its PodCliqueScalingGroups."""
    cliqueNames: list[str]
    """Cliques that scale together; a clique is in one group at most."""
    annotations: dict[str, str] | None = None
    """Annotations of its PodCliqueScalingGroups."""
    replicas: model.Count = 1
    """Copies of all its cliques in each replica of the set."""
    minAvailable: model.Positive = 1
    """Replicas that belong to the base gang; those above are gangs of their own."""
    scaleConfig: podclique.AutoScalingConfig | None = None
    """Autoscaling of the group."""
    resourceSharing: list[ResourceSharing] | None = None
    """Claims that the pods of the group share."""
    topologyConstraint: TopologyConstraint | None = None
    """Where the pods of one replica of the group are to be."""
    terminationDelay: model.Duration | None = None
    """How long a breach of the group's minAvailable may last; the set's where it is left out."""
    baseDomain: model.Domain | None = None
    """Grovekeeper's own: replicas above minAvailable go into the base gang's domain of this level, or wait."""


class HeadlessService(model.Model):
    """Settings of the headless Services."""

    publishNotReadyAddresses: bool = True
    """Whether pods have a DNS name before they are ready."""


class NetworkPack(model.Model):
    """Cliques to place close to each other (first edition of the API)."""

    cliqueNames: list[str]
    """Cliques to place close to each other."""


class SchedulingPolicy(model.Model):
    """Scheduling policy of the first edition of the API."""

    networkPackGroupConfigs: list[NetworkPack] | None = None
    """Not supported: use topologyConstraint.pack."""


class SetTemplate(model.Model):
    """What one replica of the set consists of."""

    cliques: Annotated[
        list[CliqueTemplate],
        Field(max_length=64, json_schema_extra={**model.LIST_MAP, "x-kubernetes-list-map-keys": ["name"]}),
    ]
    """Roles of pods; each becomes a PodClique, or one for each replica of its scaling group."""
    cliqueStartupType: Literal["CliqueStartupTypeAnyOrder", "CliqueStartupTypeInOrder", "CliqueStartupTypeExplicit"] = (
        "CliqueStartupTypeAnyOrder"
    )
    """AnyOrder: all at once. InOrder: one clique after the other, as listed. Explicit: after those of startsAfter."""
    priorityClassName: str | None = None
    """PriorityClass of all pods."""
    headlessServiceConfig: HeadlessService | None = None
    """The headless Service of each replica."""
    topologyConstraint: TopologyConstraint | None = None
    """Where the pods of one replica of the set are to be."""
    schedulingPolicyConfig: SchedulingPolicy | None = None
    terminationDelay: model.Duration | None = None
    """How long a breach of minAvailable may last before the gang is replaced, such as 4h."""
    gangTermination: Literal["Enabled", "Disabled"] = "Enabled"
    """Disabled: a breach of minAvailable never replaces a gang."""
    resourceClaimTemplates: list[ClaimTemplate] | None = None
    """Templates of claims that resourceSharing names."""
    resourceSharing: list[ResourceSharing] | None = None
    """Claims that the pods of the set share."""
    podCliqueScalingGroups: Annotated[
        list[GroupTemplate] | None,
        Field(max_length=64, json_schema_extra={**model.LIST_MAP, "x-kubernetes-list-map-keys": ["name"]}),
    ] = None
    """Cliques that scale together."""


class UpdateStrategy(model.Model):
    """How a changed template reaches running pods."""

    type: Literal["RollingRecreate", "OnDelete", "Coherent"] = "RollingRecreate"
    """RollingRecreate: pod by pod, one set replica at a time. OnDelete: as pods are deleted. Coherent: set replicas."""
    maxUnavailable: model.Count | None = None
    """Coherent: replicas of the set that may be missing at a time; 1 where it is left out."""
    maxSurge: model.Count | None = None
    """Coherent: extra replicas of the set during an update."""
    paused: bool | None = None
    """Replicas that have not begun keep their template."""
    progressDeadlineSeconds: model.Positive | None = None
    """Stalled is set when an update comes no further for this long."""


class SetSpec(model.Model):
    """Desired state of a set."""

    replicas: model.Count = 1
    """Copies of the template; leave it out where an autoscaler or a person scales."""
    updateStrategy: UpdateStrategy | None = None
    """How a changed template reaches running pods."""
    revisionHistoryLimit: model.Count | None = None
    """Old templates that are kept for rollback."""
    replicaSpreadConstraints: list[model.TopologySpreadConstraint] | None = None
    """Spread of the replicas of the set over node labels."""
    template: SetTemplate
    """What one replica consists of."""


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
    """Generation that the status is of; -1 before the first look."""
    conditions: model.Conditions | None = None
    replicas: model.Count = 0
    """Replicas that exist."""
    updatedReplicas: model.Count = 0
    """Replicas of the current template."""
    availableReplicas: model.Count = 0
    """Replicas whose gangs have their minimum ready."""
    hpaPodSelector: str | None = None
    """Selects one pod for each replica."""
    podGangStatuses: list[GangStatus] | None = None
    """Gangs that are not well."""
    currentGenerationHash: str | None = None
    updateProgress: SetUpdate | None = None
    rollingUpdateProgress: SetUpdate | None = None
    lastErrors: list[podclique.LastError] | None = None
    """Errors of the last reconciles."""


class PodGangSet(model.Model):
    """The kind, in either spelling."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=model.rules(*_NO_PACK_DOMAIN))

    spec: SetSpec
    status: SetStatus | None = None
