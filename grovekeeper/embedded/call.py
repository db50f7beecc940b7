"""One request, taken apart."""

from dataclasses import dataclass, field

from grovekeeper.api import raw
from grovekeeper.embedded.kinds import Kind


@dataclass(slots=True)
class Call:
    """What a request asks for, of which object, and who asks."""

    kind: Kind
    namespace: str
    """Empty for kinds without namespaces, and for all namespaces of others."""
    name: str
    """Empty for a collection."""
    subresource: str
    query: dict[str, str]
    user: str
    groups: tuple[str, ...]
    manager: str
    """Who owns the fields that are written (metadata.managedFields)."""
    warnings: list[str] = field(default_factory=list)
    """What the answer warns of; kubectl prints it."""

    @property
    def dry(self) -> bool:
        """Return whether nothing is to be stored."""
        return self.query.get("dryRun") == "All"

    def take(self, options: raw.Object) -> raw.Object:
        """Follow the options of a deletion that came as a body; return them."""
        if "All" in (options.get("dryRun") or ()):
            self.query["dryRun"] = "All"
        return options
