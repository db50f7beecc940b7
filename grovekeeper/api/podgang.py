"""PodGang: the promise that pods are placed together, as schedulers read it."""

from typing import Annotated

from pydantic import ConfigDict, Field

from grovekeeper.api import model


class PackConstraint(model.Model):
    """Node label keys within one value of which the pods must (should) be."""

    required: str | None = None
    preferred: str | None = None


class GangTopology(model.Model):
    """Topology of a gang or a part of it."""

    packConstraint: PackConstraint | None = None


class Reference(model.Model):
    """A namespaced name."""

    namespace: str
    name: str


class PodGroup(model.Model):
    """One clique of the gang. `podReferences` are its living pods."""

    name: str
    podReferences: list[Reference]
    minReplicas: model.Count
    topologyConstraint: GangTopology | None = None


class GroupConfig(model.Model):
    """Cliques that share a constraint of their own."""

    name: str
    podGroupNames: list[str]
    topologyConstraint: GangTopology | None = None


class NetworkPack(model.Model):
    """Cliques that are to be close in the network (first edition of the API)."""

    podGroupNames: list[str]


class PodGangSpec(model.Model):
    """Desired state of a PodGang. The key `podgroups` is lower case in the API."""

    podgroups: list[PodGroup]
    topologyConstraint: GangTopology | None = None
    topologyConstraintGroupConfigs: list[GroupConfig] | None = None
    networkPackGroupConfigs: list[NetworkPack] | None = None
    spreadConstraints: list[model.TopologySpreadConstraint] | None = None
    priorityClassName: str | None = None
    reuseReservationRef: Reference | None = None


class PodGangStatus(model.Model):
    """Observed state of a PodGang."""

    phase: str = "Pending"
    conditions: model.Conditions | None = None
    recreations: model.Count | None = None
    """How often the gang was given up and made again; the next time waits longer. Grovekeeper's own."""
    placementScore: Annotated[float | None, Field(json_schema_extra={"type": "number"})] = None


class PodGang(model.Model):
    """The kind."""

    model_config = ConfigDict(extra="ignore")

    spec: PodGangSpec
    status: PodGangStatus | None = None
