"""Rules of the back end that a set chooses by schedulerName (docs/decisions/0013-hand-over.md).

Source: Grove's checks per back end. Whether a kind is served and a queue exists is not known here (decision 0004).
"""

from collections.abc import Iterator

from grovekeeper.api import names, queues, raw
from grovekeeper.api.validate import syntax, topology, verdict

_T = "spec.template"


def check(found: verdict.Verdict, new: raw.Object, old: raw.Object | None, context: verdict.Context) -> None:
    """Add the faults of the chosen back end."""
    template = (new.get("spec") or {}).get("template") or {}
    _no_group(found, template)
    chosen = _choice(found, template, context)
    if chosen is None or chosen == names.SCHEDULER_STOCK:
        return
    _no_spread(found, new, chosen)
    if chosen == names.SCHEDULER_KAI:
        _one_queue(found, queues.of_kai(new), names.KAI_QUEUE)
        if not queues.of_kai(new):
            text = f"{chosen} schedules nothing without a queue: set this label on the set or on its cliques"
            found.fault(f"metadata.labels[{names.KAI_QUEUE}]", "Required", text)
        return
    _no_pack(found, template, chosen)
    if chosen == names.SCHEDULER_VOLCANO:
        _volcano_queue(found, new)
    else:
        _one_priority(found, template)
        _same_priority(found, template, old)


def resolved(name: str | None) -> str:
    """Return the back end that a schedulerName means. The default of the settings has been filled in before."""
    return names.SCHEDULER_STOCK if name in (None, "", names.SCHEDULER_OWN) else name


def _choice(found: verdict.Verdict, template: raw.Object, context: verdict.Context) -> str | None:
    """Return the set's one back end; None where it is at fault."""
    chosen: dict[str, int] = {}
    good = True
    for position, pod_spec in _pod_specs(template):
        path = f"{_T}.cliques[{position}].spec.podSpec.schedulerName"
        given = pod_spec.get("schedulerName")
        name = resolved(given)
        if name not in context.schedulers:
            good = False
            if name in names.SCHEDULERS:
                text = (
                    f"this back end is not enabled: add it to schedulers.profiles of the chart, or use one of "
                    f"{', '.join(context.schedulers)}"
                )
            else:
                text = f"use one of {', '.join(context.schedulers)} or leave it out"
            found.fault(path, "NotSupported", text, given)
        chosen.setdefault(name, position)
        if len(chosen) > 1:
            first, where = next(iter(chosen.items()))
            text = f"a gang has one scheduler, and {_T}.cliques[{where}] means {first}: use the same name everywhere"
            found.fault(path, "Invalid", text, given)
            return None
    return next(iter(chosen), None) if good else None


def _pod_specs(template: raw.Object) -> Iterator[tuple[int, raw.Object]]:
    for position, clique in enumerate(template.get("cliques") or ()):
        yield position, (clique.get("spec") or {}).get("podSpec") or {}


def _no_group(found: verdict.Verdict, template: raw.Object) -> None:
    for position, pod_spec in _pod_specs(template):
        if pod_spec.get("schedulingGroup"):
            text = f"remove it: with schedulerName {names.SCHEDULER_UPSTREAM} every pod gets the group of its gang"
            found.fault(f"{_T}.cliques[{position}].spec.podSpec.schedulingGroup", "Forbidden", text)


def _no_spread(found: verdict.Verdict, new: raw.Object, chosen: str) -> None:
    text = f"{chosen} does not know spread: remove it, or leave schedulerName to {names.SCHEDULER_STOCK}"
    spec = new.get("spec") or {}
    if spec.get("replicaSpreadConstraints"):
        found.fault("spec.replicaSpreadConstraints", "NotSupported", text)
    for entry in topology.placed(spec.get("template") or {}):
        if entry.constraint.get("spread"):
            found.fault(f"{entry.path}.spread", "NotSupported", text)


def _no_pack(found: verdict.Verdict, template: raw.Object, chosen: str) -> None:
    others = f"{names.SCHEDULER_STOCK} and {names.SCHEDULER_KAI}"
    for entry in topology.placed(template):
        text = f"{chosen} takes no topology constraints from gangs: remove it, or use one of {others}"
        found.fault(entry.path, "NotSupported", text)


def _one_queue(found: verdict.Verdict, named: queues.Named, key: str) -> None:
    first = named[0] if named else None
    for position, queue in named:
        if first is not None and queue != first[1]:
            where = "the set" if first[0] is None else f"{_T}.cliques[{first[0]}]"
            text = f"{where} says {first[1]}: a gang is charged to one queue"
            found.fault(f"{_T}.cliques[{position}] {key}", "Invalid", text, queue)


def _volcano_queue(found: verdict.Verdict, new: raw.Object) -> None:
    named = queues.of_volcano(new)
    key = names.ANNOTATION_VOLCANO_QUEUE
    _one_queue(found, named, key)
    for position, queue in named:
        if not syntax.is_subdomain(queue):
            path = "metadata" if position is None else f"{_T}.cliques[{position}]"
            text = "a queue's name has lower-case letters, digits, - and . only, at most 253 of them"
            found.fault(f"{path}.annotations[{key}]", "Invalid", text, queue)


def _one_priority(found: verdict.Verdict, template: raw.Object) -> None:
    """A PodGroup has one priority, and kube-scheduler rejects it whole where a pod's differs."""
    whole = template.get("priorityClassName") or None
    classes = [(i, spec.get("priorityClassName") or whole) for i, spec in _pod_specs(template)]
    for position, name in classes:
        if name != classes[0][1] or (whole and name != whole):
            text = (
                f"{names.SCHEDULER_UPSTREAM} has one priority class a set: use {whole or classes[0][1] or 'none'} here"
            )
            found.fault(f"{_T}.cliques[{position}].spec.podSpec.priorityClassName", "Invalid", text, name)


def _same_priority(found: verdict.Verdict, template: raw.Object, old: raw.Object | None) -> None:
    before = ((old or {}).get("spec") or {}).get("template") or {}
    if old is not None and (template.get("priorityClassName") or "") != (before.get("priorityClassName") or ""):
        text = "the priority of a PodGroup that exists cannot change: create a set under another name"
        found.fault(f"{_T}.priorityClassName", "Forbidden", text, template.get("priorityClassName"))
