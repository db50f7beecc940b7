"""Everything that a manifest will become, for `grovekeeper expand` and for tests."""

from collections.abc import Callable, Mapping

from grovekeeper.api import raw
from grovekeeper.expand import cliques, companions, gangs, groups, history, model, parse, pods, shared

Apply = Callable[[raw.Object, list[raw.PatchOp]], raw.Object]


def objects(
    obj: raw.Object, settings: pods.Settings, apply_patch: Apply, levels: Mapping[str, str]
) -> list[raw.Object]:
    """Return every object of a set in the order of creation, pods as the webhook leaves them.

    `levels` maps the domains of the set's topology to node label keys; empty where its binding is not known. What the
    server assigns is absent: uid, resourceVersion, the random part of pod names (and with it the pods that a PodGang
    lists). `apply_patch` applies RFC 6902 operations (the core itself knows no library for it).
    """
    w = parse.workload(obj)
    result = [*shared.objects(w), history.controller_revision(w, 1)]
    for index in range(w.replicas):
        result.extend(_replica(w, index, settings, apply_patch, levels))
    return result


def _replica(
    w: model.Workload, index: int, settings: pods.Settings, apply_patch: Apply, levels: Mapping[str, str]
) -> list[raw.Object]:
    result = [companions.service(w, index), *companions.autoscalers(w, index)]
    everything = [cliques.standalone(w, index, template) for template in w.standalone()]
    for template in w.groups:
        group = groups.group(w, index, template)
        result.append(group)
        for j in range(groups.effective_replicas(template.replicas, template.min_available)):
            everything.extend(groups.members(w, index, template, group, j))
    result.extend(everything)
    result.extend(gangs.podgang(w, gang, {}, levels) for gang in gangs.of_replica(w, index, model.Live()))
    for clique in everything:
        for pod_index in range(clique["spec"]["replicas"]):
            pod = pods.created(w, clique, pod_index, "")
            del pod["metadata"]["name"]
            result.append(apply_patch(pod, pods.injection(pod, settings)))
    return result
