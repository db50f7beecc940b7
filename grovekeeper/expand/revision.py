"""Hashes that say whether a template changed. Grove's role and alphabet, not its values (trap 45)."""

import json
from collections.abc import Iterable

from grovekeeper.api import raw

_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1
_DIGITS = str.maketrans("0123456789", "456789bcdf")


def template_hash(labels: raw.Json, annotations: raw.Json, pod_spec: raw.Object, priority_class: str) -> str:
    """Return the hash of one clique's pod template: `^[4-9bcdf]{1,20}$`.

    The set's priority class replaces the pod's, as in Grove. Empty values and the two defaults that the webhook fills
    in are left out, so that a manifest from Git and the stored object hash alike.
    """
    spec = {key: value for key, value in pod_spec.items() if key != "priorityClassName"}
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if priority_class:
        spec["priorityClassName"] = priority_class
    return _encoded({"labels": labels, "annotations": annotations, "spec": spec})


def generation_hash(template_hashes: Iterable[tuple[str, str]], *, ordered: bool) -> str:
    """Return the hash over all cliques' (name, template hash).

    Reordering cliques is a change only where their order means something (Grove starts an update in which no pod
    differs: trap 26).
    """
    pairs = [list(pair) for pair in template_hashes]
    return _encoded(pairs if ordered else sorted(pairs))


def whole_template_hash(template: raw.Object) -> str:
    """Return the hash of everything in spec.template: each distinct one is a revision of the set."""
    return _encoded(template)


def short(text: str, length: int) -> str:
    """Return a deterministic suffix of `length` characters that is legal in names (no vowels, no words)."""
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    number = _fnv(text.encode())
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(alphabet))
        letters.append(alphabet[index])
    return "".join(letters)


def _encoded(value: raw.Json) -> str:
    text = json.dumps(_pruned(value), sort_keys=True, separators=(",", ":"))
    return str(_fnv(text.encode())).translate(_DIGITS)


def _pruned(value: raw.Json) -> raw.Json:
    if isinstance(value, dict):
        pruned = {key: _pruned(entry) for key, entry in value.items()}
        return {key: entry for key, entry in pruned.items() if entry not in (None, "", {}, [])}
    if isinstance(value, list | tuple):
        return [_pruned(entry) for entry in value]
    return value


def _fnv(data: bytes) -> int:
    number = _OFFSET
    for byte in data:
        number = ((number ^ byte) * _PRIME) & _MASK
    return number
