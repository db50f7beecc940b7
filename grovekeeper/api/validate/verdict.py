"""What validation knows and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grovekeeper.api import errors as faults
from grovekeeper.api import names


@dataclass(frozen=True, slots=True)
class Context:
    """What the caller knows of the cluster. The command line knows nothing of it."""

    topologies: Mapping[str, tuple[str, ...]] | None = None
    """ClusterTopologyBinding name to its domains, broadest first; None where unknown."""
    schedulers: tuple[str, ...] = names.SCHEDULERS
    """Enabled scheduler back ends."""
    no_nvlink: str | None = None
    """Why no set may ask for multi-node NVLink, with the next step; None where it may, or where that is not known."""


@dataclass(slots=True)
class Verdict:
    """Faults and remarks, in the order of the manifest."""

    errors: list[faults.FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def fault(self, path: str, reason: faults.Reason, message: str, value: object = None) -> None:
        """Add a fault."""
        self.errors.append(faults.FieldError(path, reason, message, value))
