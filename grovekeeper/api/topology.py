"""ClusterTopologyBinding: which node labels make up the levels of the cluster's network, broadest first."""

from typing import Annotated

from pydantic import ConfigDict, Field

from grovekeeper.api import model

KEY_PATTERN = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"


class Level(model.Model):
    """One level: a domain's name and the node label that tells a node's place in it."""

    domain: model.Domain
    """Name of the level, such as rack; sets refer to it."""
    key: Annotated[str, Field(min_length=1, max_length=63, pattern=KEY_PATTERN)]
    """Node label whose value is the domain that a node is in."""


class SchedulerBinding(model.Model):
    """A topology object of another scheduler that stands for this one."""

    schedulerName: str
    """Back end, such as kai-scheduler."""
    topologyReference: str
    """Name of its topology object."""


class TopologySpec(model.Model):
    """Desired state."""

    levels: Annotated[list[Level], Field(min_length=1, max_length=16)]
    """Levels of the network, broadest first."""
    schedulerTopologyBindings: list[SchedulerBinding] | None = None
    """Topology objects of other schedulers that stand for this one."""


class SchedulerStatus(model.Model):
    """Whether another scheduler's topology object agrees."""

    schedulerName: str
    topologyReference: str
    inSync: bool
    schedulerBackendTopologyObservedGeneration: model.Generation | None = None
    message: str | None = None


class TopologyStatus(model.Model):
    """Observed state."""

    observedGeneration: model.Generation | None = None
    conditions: model.Conditions | None = None
    schedulerTopologyStatuses: list[SchedulerStatus] | None = None


class ClusterTopologyBinding(model.Model):
    """The kind."""

    model_config = ConfigDict(extra="ignore")

    spec: TopologySpec
    status: TopologyStatus | None = None
