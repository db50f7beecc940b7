"""Keys of the queue (docs/architecture.md has the table)."""

from dataclasses import dataclass

ROOM = "room"


@dataclass(frozen=True, slots=True)
class Key:
    """One key, taken apart. `owner_kind` is given for sets and their replicas, `index` for replicas."""

    kind: str
    namespace: str
    name: str
    owner_kind: str = ""
    index: int = -1

    def __str__(self) -> str:
        if self.kind == ROOM:
            return ROOM
        middle = f"{self.owner_kind}:" if self.owner_kind else ""
        tail = f"/{self.index}" if self.index >= 0 else ""
        return f"{self.kind}:{middle}{self.namespace}/{self.name}{tail}"


def parse(text: str) -> Key:
    """Return the key that a text means; raise ValueError for anything else."""
    if text == ROOM:
        return Key(ROOM, "", "")
    kind, _, rest = text.partition(":")
    if kind in ("set", "replica", "setstatus", "devices"):
        owner_kind, _, path = rest.partition(":")
        parts = path.split("/")
        index = int(parts[2]) if kind == "replica" else -1
        return Key(kind, parts[0], parts[1], owner_kind, index)
    namespace, _, name = rest.partition("/")
    if not name:
        raise ValueError(f"{text!r} is not a key")
    return Key(kind, namespace, name)


def set_key(kind: str, namespace: str, name: str) -> str:
    """Return the key of a set."""
    return f"set:{kind}:{namespace}/{name}"


def set_status(kind: str, namespace: str, name: str) -> str:
    """Return the key of a set's status."""
    return f"setstatus:{kind}:{namespace}/{name}"


def devices(kind: str, namespace: str, name: str) -> str:
    """Return the key of a set's own ResourceClaims and its ComputeDomains."""
    return f"devices:{kind}:{namespace}/{name}"


def replica(kind: str, namespace: str, name: str, index: int) -> str:
    """Return the key of one replica of a set."""
    return f"replica:{kind}:{namespace}/{name}/{index}"


def group(namespace: str, name: str) -> str:
    """Return the key of a PodCliqueScalingGroup."""
    return f"group:{namespace}/{name}"


def clique(namespace: str, name: str) -> str:
    """Return the key of a PodClique."""
    return f"clique:{namespace}/{name}"


def binding(name: str) -> str:
    """Return the key of a ClusterTopologyBinding."""
    return f"binding:/{name}"


def gang(namespace: str, name: str) -> str:
    """Return the key of a PodGang."""
    return f"gang:{namespace}/{name}"
