"""Everything that a manifest will become, for `grovekeeper expand` and for tests."""

from collections.abc import Callable, Iterable, Mapping

from grovekeeper.api import names, raw
from grovekeeper.expand import (
    budgets,
    cliques,
    companions,
    gangs,
    groups,
    history,
    injection,
    model,
    nvlink,
    parse,
    pods,
    shared,
    sharing,
)
from grovekeeper.expand.backends import known

Apply = Callable[[raw.Object, list[raw.PatchOp]], raw.Object]
Templates = Mapping[tuple[str, str], raw.Object]
"""Namespace and name of a ResourceClaimTemplate object to its spec: {metadata, spec}."""


def objects(
    obj: raw.Object,
    settings: injection.Settings,
    apply_patch: Apply,
    levels: Mapping[str, str],
    templates: Templates | None = None,
    topology: str | None = None,
) -> list[raw.Object]:
    """Return every object of a set in the order of creation, pods as the webhook leaves them.

    `levels` maps the domains of the set's topology to node label keys; empty where its binding is not known. What the
    server assigns is absent: uid, resourceVersion, the random part of pod names (and with it the pods that a PodGang
    lists). `apply_patch` applies RFC 6902 operations (the core itself knows no library for it). Claims of templates
    that are not given are left out. `topology` names the object that stands for the binding in the scheduler that the
    set names.
    """
    w = parse.workload(obj)
    claimed = templates or {}
    result = [*shared.objects(w), history.controller_revision(w, 1)]
    result += _claims(w, sharing.of_set(w, range(w.replicas)), w.raw, claimed)
    for index in range(w.replicas):
        members, gangs_ = _members(w, index, claimed), _gangs(w, index, levels, topology)
        result += [companions.service(w, index), *companions.autoscalers(w, index)]
        result += [*(nvlink.domain(w, index, group) for group in nvlink.groups(w)), *members, *gangs_]
        for clique in members:
            if clique["kind"] == names.PODCLIQUE:
                result += _pods(w, clique, settings, apply_patch, claimed)
                if budgets.wanted(w, default=True):
                    result.append(budgets.budget(w, clique))
    return result


def _members(w: model.Workload, index: int, templates: Templates) -> list[raw.Object]:
    """Return the scaling groups of a set replica with their claims, and its PodCliques."""
    result = []
    everything = [cliques.standalone(w, index, template) for template in w.standalone()]
    for template in w.groups:
        group = groups.group(w, index, template)
        count = groups.effective_replicas(template.replicas, template.min_available)
        result.append(group)
        result += _claims(w, sharing.of_group(template, group["metadata"]["name"], range(count)), group, templates)
        for j in range(count):
            everything.extend(groups.members(w, index, template, group, j))
    return [*result, *everything]


def _gangs(w: model.Workload, index: int, levels: Mapping[str, str], topology: str | None) -> list[raw.Object]:
    """Return the PodGangs of a set replica, each followed by its PodGroup where another scheduler places it."""
    found = known.of(w)
    result = []
    for gang in gangs.of_replica(w, index, model.Live()):
        if found is None:
            result.append(gangs.podgang(w, gang, {}, levels))
            continue
        podgang = gangs.podgang(w, gang, {}, levels, known.gang_annotations(found, w, levels))
        result += [podgang, known.group(found, w, podgang, topology)]
    return result


def _pods(
    w: model.Workload, clique: raw.Object, settings: injection.Settings, apply_patch: Apply, templates: Templates
) -> list[raw.Object]:
    count = range(clique["spec"]["replicas"])
    template = w.clique(pods.template_of(w, clique["metadata"])[0])
    result = _claims(w, sharing.of_clique(template, clique["metadata"]["name"], count), clique, templates)
    for pod_index in count:
        pod = pods.created(w, clique, pod_index, "", domain=pods.domain_of(w, clique))
        del pod["metadata"]["name"]
        result.append(apply_patch(pod, injection.operations(pod, settings)))
    return result


def _claims(
    w: model.Workload, wanted: Iterable[sharing.Wanted], owner: raw.Object, templates: Templates
) -> list[raw.Object]:
    found = [(each, each.entry.template or templates.get((each.entry.namespace, each.entry.name))) for each in wanted]
    return [sharing.claim(w, each, owner, template) for each, template in found if template is not None]
