"""Defaults of the mutating webhook, as operations: only absent fields, never a rewritten value (Git would drift).

Source: Grove's defaulting. A clique without replicas and minAvailable gets 1 and 1 (Grove refuses it: trap 3).
"""

from grovekeeper.api import names, patch, raw


def default(obj: raw.Object) -> list[raw.PatchOp]:
    """Return the operations that fill a PodGangSet's or PodCliqueSet's defaults; empty when nothing is missing."""
    template = (obj.get("spec") or {}).get("template")
    if not isinstance(template, dict):
        return []
    root = "/spec/template"
    operations: list[raw.PatchOp] = []
    if not template.get("terminationDelay") and template.get("gangTermination") != "Disabled":
        operations.append(patch.add(f"{root}/terminationDelay", names.DIALECTS[obj["kind"]].termination_delay))
    if template.get("headlessServiceConfig") is None:
        operations.append(patch.add(f"{root}/headlessServiceConfig", {"publishNotReadyAddresses": True}))
    for position, clique in enumerate(template.get("cliques") or ()):
        operations += _clique(f"{root}/cliques/{position}/spec", clique.get("spec") or {})
    for position, group in enumerate(template.get("podCliqueScalingGroups") or ()):
        scale = group.get("scaleConfig")
        if scale is not None and scale.get("minReplicas") is None:
            path = f"{root}/podCliqueScalingGroups/{position}/scaleConfig/minReplicas"
            operations.append(patch.add(path, group.get("replicas") or 1))
    return operations


def schedulers(obj: raw.Object, old: raw.Object | None, default_scheduler: str) -> list[raw.PatchOp]:
    """Return the operations that write a set's back end into cliques that name none.

    A new set gets the default of the settings, an existing one what it has had: changing the default moves nobody.
    The stock scheduler is what the API server fills in for pods anyway.
    """
    before = {clique.get("name"): _scheduler(clique) for clique in _templates(old)}
    operations = []
    for position, clique in enumerate(_templates(obj)):
        wanted = default_scheduler if old is None else before.get(clique.get("name"))
        named = _scheduler(clique) or not isinstance((clique.get("spec") or {}).get("podSpec"), dict)
        if wanted and wanted != names.SCHEDULER_STOCK and not named:
            operations.append(patch.add(f"/spec/template/cliques/{position}/spec/podSpec/schedulerName", wanted))
    return operations


def _templates(obj: raw.Object | None) -> list[raw.Object]:
    return (((obj or {}).get("spec") or {}).get("template") or {}).get("cliques") or []


def _scheduler(clique: raw.Object) -> str | None:
    return ((clique.get("spec") or {}).get("podSpec") or {}).get("schedulerName")


def _clique(path: str, spec: raw.Object) -> list[raw.PatchOp]:
    operations = []
    replicas = spec.get("replicas")
    if replicas is None:
        replicas = 1
        operations.append(patch.add(f"{path}/replicas", replicas))
    if spec.get("minAvailable") is None:
        operations.append(patch.add(f"{path}/minAvailable", replicas))
    scale = spec.get("autoScalingConfig")
    if scale is not None and scale.get("minReplicas") is None:
        operations.append(patch.add(f"{path}/autoScalingConfig/minReplicas", replicas))
    pod_spec = spec.get("podSpec")
    if isinstance(pod_spec, dict):
        if not pod_spec.get("restartPolicy"):
            operations.append(patch.add(f"{path}/podSpec/restartPolicy", "Always"))
        if pod_spec.get("terminationGracePeriodSeconds") is None:
            operations.append(patch.add(f"{path}/podSpec/terminationGracePeriodSeconds", 30))
    return operations
