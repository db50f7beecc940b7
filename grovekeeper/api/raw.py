"""The wire: Kubernetes objects as they travel, plain dicts of JSON values.

The only module of the house that says `Any`: everything else speaks of `raw.Object`.
"""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A JSON object: a whole Kubernetes object or a part of one."""

PatchOp: TypeAlias = dict[str, Any]
"""One RFC 6902 operation: {"op", "path"[, "value"]}."""

Json: TypeAlias = Any
"""Any JSON value."""
