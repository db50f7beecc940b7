"""Everything that a manifest will become, for `grovekeeper expand` and for tests."""

from collections.abc import Callable, Iterable, Mapping

from grovekeeper.api import raw
from grovekeeper.expand import (
    cliques,
    companions,
    gangs,
    groups,
    history,
    model,
    nvlink,
    parse,
    pods,
    shared,
    sharing,
)

Apply = Callable[[raw.Object, list[raw.PatchOp]], raw.Object]
Templates = Mapping[tuple[str, str], raw.Object]
"""Namespace and name of a ResourceClaimTemplate object to its spec: {metadata, spec}."""


def objects(
    obj: raw.Object,
    settings: pods.Settings,
    apply_patch: Apply,
    levels: Mapping[str, str],
    templates: Templates | None = None,
) -> list[raw.Object]:
    """Return every object of a set in the order of creation, pods as the webhook leaves them.

    `levels` maps the domains of the set's topology to node label keys; empty where its binding is not known. What the
    server assigns is absent: uid, resourceVersion, the random part of pod names (and with it the pods that a PodGang
    lists). `apply_patch` applies RFC 6902 operations (the core itself knows no library for it). Claims of templates
    that are not given are left out.
    """
    w = parse.workload(obj)
    known = templates or {}
    result = [*shared.objects(w), history.controller_revision(w, 1)]
    result += _claims(w, sharing.of_set(w, range(w.replicas)), w.raw, known)
    for index in range(w.replicas):
        result.extend(_replica(w, index, settings, apply_patch, levels, known))
    return result


def _replica(
    w: model.Workload,
    index: int,
    settings: pods.Settings,
    apply_patch: Apply,
    levels: Mapping[str, str],
    templates: Templates,
) -> list[raw.Object]:
    result = [companions.service(w, index), *companions.autoscalers(w, index)]
    result += [nvlink.domain(w, index, group) for group in nvlink.groups(w)]
    everything = [cliques.standalone(w, index, template) for template in w.standalone()]
    for template in w.groups:
        group = groups.group(w, index, template)
        count = groups.effective_replicas(template.replicas, template.min_available)
        result.append(group)
        result += _claims(w, sharing.of_group(template, group["metadata"]["name"], range(count)), group, templates)
        for j in range(count):
            everything.extend(groups.members(w, index, template, group, j))
    result.extend(everything)
    result.extend(gangs.podgang(w, gang, {}, levels) for gang in gangs.of_replica(w, index, model.Live()))
    for clique in everything:
        result += _pods(w, clique, settings, apply_patch, templates)
    return result


def _pods(
    w: model.Workload, clique: raw.Object, settings: pods.Settings, apply_patch: Apply, templates: Templates
) -> list[raw.Object]:
    count = range(clique["spec"]["replicas"])
    template = w.clique(pods.template_of(w, clique["metadata"])[0])
    result = _claims(w, sharing.of_clique(template, clique["metadata"]["name"], count), clique, templates)
    for pod_index in count:
        pod = pods.created(w, clique, pod_index, "", domain=pods.domain_of(w, clique))
        del pod["metadata"]["name"]
        result.append(apply_patch(pod, pods.injection(pod, settings)))
    return result


def _claims(
    w: model.Workload, wanted: Iterable[sharing.Wanted], owner: raw.Object, templates: Templates
) -> list[raw.Object]:
    found = [(each, each.entry.template or templates.get((each.entry.namespace, each.entry.name))) for each in wanted]
    return [sharing.claim(w, each, owner, template) for each, template in found if template is not None]
