"""What is noted of gangs that were given up, in annotations: how often and when, and how far their cliques were scaled.

Each time is longer after the one before; and what an autoscaler or a person has scaled comes back as large as it was.
Pure. A set replica's terminations are noted on its base PodGang, those of a group's replicas on the group.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from grovekeeper.api import names, raw
from grovekeeper.runtime import clock

REPLICA = "replica"
"""Key under which a set replica's terminations are noted on its base PodGang; a group's are noted by index."""
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier terminations of one gang."""

    count: int = 0
    last: datetime | None = None


def read(obj: raw.Object | None, key: str) -> Past:
    """Return what an object's annotation says of earlier terminations under `key`."""
    try:
        count, last = _noted(obj, names.ANNOTATION_TERMINATIONS)[key]
        return Past(int(count), clock.parse(last))
    except (KeyError, ValueError, TypeError):
        return Past()


def count(name: str, live: raw.Object, group: raw.Object | None) -> int:
    """Return how often the gang `name` was given up: noted on its own PodGang, or on the group of a scaled gang."""
    if group is None:
        return read(live, REPLICA).count
    index = int(name.rpartition("-")[2]) + (group["spec"].get("minAvailable") or 1)
    return read(group, str(index)).count


def annotation(obj: raw.Object | None, keys: Iterable[str], now: datetime) -> str:
    """Return the annotation's new text after one more termination under each of `keys`."""
    noted = _noted(obj, names.ANNOTATION_TERMINATIONS)
    for key in keys:
        noted[key] = [_counted(read(obj, key), now) + 1, clock.rfc3339(now)]
    return json.dumps(noted, sort_keys=True, separators=(",", ":"))


def given_up(cliques: Iterable[raw.Object]) -> str | None:
    """Return the annotation's text for standalone PodCliques that are about to go; None where all are as in the set."""
    noted = {}
    for clique in cliques:
        metadata, replicas = clique["metadata"], clique["spec"].get("replicas", 1)
        passed_on = (metadata.get("annotations") or {}).get(names.ANNOTATION_TEMPLATE_REPLICAS)
        if passed_on is not None and passed_on != str(replicas):
            noted[metadata["name"]] = [metadata["uid"], replicas, passed_on]
    return json.dumps(noted, sort_keys=True, separators=(",", ":")) if noted else None


def before(gang: raw.Object | None, fqn: str) -> raw.Object | None:
    """Return what is known of a PodClique that was given up, in the shape of the object; None where nothing is."""
    try:
        uid, replicas, passed_on = _noted(gang, names.ANNOTATION_GIVEN_UP)[fqn]
    except (KeyError, ValueError, TypeError):
        return None
    annotations = {names.ANNOTATION_TEMPLATE_REPLICAS: passed_on}
    return {"metadata": {"name": fqn, "uid": uid, "annotations": annotations}, "spec": {"replicas": replicas}}


def are_back(gang: raw.Object | None, living: Mapping[str, raw.Object]) -> bool:
    """Return whether there is a note of given-up PodCliques that has served: each has a successor among `living`."""
    noted = _noted(gang, names.ANNOTATION_GIVEN_UP)
    known = ((living.get(fqn), before(gang, fqn)) for fqn in noted)
    return bool(noted) and all(
        now is not None and (old is None or now["metadata"]["uid"] != old["metadata"]["uid"]) for now, old in known
    )


def pause(count: int) -> timedelta:
    """Return the least time between the `count`-th termination of a gang and the next: 30 s, doubled up to an hour."""
    return timedelta(0) if count < 1 else min(_FIRST_PAUSE * 2 ** min(count - 1, 10), _LONGEST_PAUSE)


def not_before(moment: datetime, past: Past) -> datetime:
    """Return the moment, or the end of the pause after the last termination where that is later."""
    return moment if past.last is None else max(moment, past.last + pause(past.count))


def _counted(past: Past, now: datetime) -> int:
    """Return the count that still matters: a gang that held for long enough starts anew."""
    if past.last is None or now - past.last > 2 * max(pause(past.count), _FIRST_PAUSE) + _LONGEST_PAUSE:
        return 0
    return past.count


def _noted(obj: raw.Object | None, annotation: str) -> raw.Object:
    text = ((obj or {}).get("metadata", {}).get("annotations") or {}).get(annotation) or "{}"
    try:
        loaded = json.loads(text)
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
