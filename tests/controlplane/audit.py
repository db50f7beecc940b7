"""What a user has done with the API server, from its audit log."""

import json
from dataclasses import dataclass
from pathlib import Path

Request = tuple[str, str, str]
"""Verb, API group, and resource with its subresource, as RBAC names them."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was let through by authorization, whatever came of it then, and what was not."""

    allowed: frozenset[Request]
    denied: frozenset[Request]


def options(user: str, folder: Path) -> list[str]:
    """Return the API server's options that write down what a user may and does; none without a user."""
    if not user:
        return []
    rules = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    (folder / "audit-policy.yaml").write_text(json.dumps(policy))
    return ["--audit-policy-file", str(folder / "audit-policy.yaml"), "--audit-log-path", str(_log(folder))]


def read(folder: Path) -> Record:
    """Return what the user has asked for until now."""
    found: dict[bool, set[Request]] = {True: set(), False: set()}
    # The last line may be half written.
    for line in _log(folder).read_text().rpartition("\n")[0].splitlines():
        event = json.loads(line)
        what = event.get("objectRef") or {}
        resource = "/".join(filter(None, (what.get("resource", event["requestURI"]), what.get("subresource"))))
        allowed = event["annotations"]["authorization.k8s.io/decision"] == "allow"
        found[allowed].add((event["verb"], what.get("apiGroup", ""), resource))
    return Record(frozenset(found[True]), frozenset(found[False]))


def _log(folder: Path) -> Path:
    return folder / "audit.log"
