"""From the wire to `model.Workload`. Reads every optional field with the webhook's default, so both forms are equal."""

from collections.abc import Iterable, Mapping

from grovekeeper.api import names, raw
from grovekeeper.expand import model, revision

_HISTORY = 10
"""Default of spec.revisionHistoryLimit, as on StatefulSets."""


def workload(obj: raw.Object) -> model.Workload:
    """Return the parsed set, of either kind. The object must have passed validation; nothing is checked again."""
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    metadata = obj["metadata"]
    dialect = names.DIALECTS[obj["kind"]]
    priority_class = template.get("priorityClassName") or ""
    startup = template.get("cliqueStartupType") or names.STARTUP_ANY_ORDER
    share = _Sharings(metadata.get("namespace") or "default", template.get("resourceClaimTemplates") or ())
    cliques = tuple(
        _clique(entry, position, priority_class, share) for position, entry in enumerate(template.get("cliques") or ())
    )
    delay = template.get("terminationDelay") or dialect.termination_delay
    headless = template.get("headlessServiceConfig") or {}
    progress = (obj.get("status") or {}).get(dialect.progress_field) or {}
    return model.Workload(
        dialect=dialect,
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        replicas=_count(spec.get("replicas"), 1),
        cliques=cliques,
        groups=tuple(_group(entry, share) for entry in template.get("podCliqueScalingGroups") or ()),
        startup=startup,
        priority_class=priority_class,
        publish_not_ready=headless.get("publishNotReadyAddresses", True),
        termination_delay=None if template.get("gangTermination") == "Disabled" else delay,
        pack=_pack(template.get("topologyConstraint")),
        update_strategy=spec.get("updateStrategy") or {},
        surge=progress.get("surgeReplicas", 0),
        history_limit=_count(spec.get("revisionHistoryLimit"), _HISTORY),
        generation_hash=revision.generation_hash(
            ((clique.name, clique.template_hash) for clique in cliques), ordered=startup != names.STARTUP_ANY_ORDER
        ),
        raw=obj,
        sharing=share.of(template),
        spread=_spread(template.get("topologyConstraint"))
        + tuple(_replica_spread(rule) for rule in spec.get("replicaSpreadConstraints") or ()),
        scheduler=_scheduler(cliques),
    )


class _Sharings:
    """Reads resourceSharing lists against the set's own claim templates, which win over objects of the same name."""

    def __init__(self, namespace: str, templates: Iterable[raw.Object]) -> None:
        self._namespace = namespace
        self._own = {entry["name"]: entry["templateSpec"] for entry in templates}

    def of(self, level: raw.Object) -> tuple[model.Sharing, ...]:
        """Return the sharing of one level: the set's template, a group's or a clique's entry."""
        return tuple(self._one(entry) for entry in level.get("resourceSharing") or ())

    def _one(self, entry: raw.Object) -> model.Sharing:
        chosen = entry.get("filter")
        return model.Sharing(
            name=entry["name"],
            template=None if entry.get("namespace") else self._own.get(entry["name"]),
            namespace=entry.get("namespace") or self._namespace,
            per_replica=entry["scope"] == names.SCOPE_PER_REPLICA,
            cliques=frozenset((chosen or {}).get("childCliqueNames") or ()),
            groups=frozenset((chosen or {}).get("childScalingGroupNames") or ()),
            filtered=chosen is not None,
        )


def _scheduler(cliques: tuple[model.CliqueTemplate, ...]) -> str:
    named = (clique.pod_spec.get("schedulerName") for clique in cliques)
    found = next((name for name in named if name), names.SCHEDULER_STOCK)
    return names.SCHEDULER_STOCK if found == names.SCHEDULER_OWN else found


def _clique(entry: raw.Object, position: int, priority_class: str, share: _Sharings) -> model.CliqueTemplate:
    spec = entry.get("spec") or {}
    pod_spec = spec.get("podSpec") or {}
    replicas = _count(spec.get("replicas"), 1)
    return model.CliqueTemplate(
        name=entry["name"],
        position=position,
        labels=_pairs(entry.get("labels")),
        annotations=_pairs(entry.get("annotations")),
        role=spec.get("roleName") or "",
        replicas=replicas,
        min_available=_count(spec.get("minAvailable"), replicas),
        starts_after=tuple(spec.get("startsAfter") or ()),
        pod_spec=pod_spec,
        scale=spec.get("autoScalingConfig"),
        pack=_pack(entry.get("topologyConstraint")),
        template_hash=revision.template_hash(entry.get("labels"), entry.get("annotations"), pod_spec, priority_class),
        sharing=share.of(entry),
        spread=_spread(entry.get("topologyConstraint")),
    )


def _group(entry: raw.Object, share: _Sharings) -> model.GroupTemplate:
    return model.GroupTemplate(
        name=entry["name"],
        clique_names=tuple(entry.get("cliqueNames") or ()),
        replicas=_count(entry.get("replicas"), 1),
        min_available=_count(entry.get("minAvailable"), 1),
        annotations=_pairs(entry.get("annotations")),
        scale=entry.get("scaleConfig"),
        pack=_pack(entry.get("topologyConstraint")),
        sharing=share.of(entry),
        termination_delay=entry.get("terminationDelay"),
        spread=_spread(entry.get("topologyConstraint")),
        base_domain=entry.get("baseDomain"),
    )


def _pack(constraint: raw.Object | None) -> model.Pack | None:
    if not constraint:
        return None
    pack = constraint.get("pack") or {}
    return model.Pack(
        topology=constraint.get("topologyName"),
        required=pack.get("required") or constraint.get("packDomain"),
        preferred=pack.get("preferred"),
    )


def _spread(constraint: raw.Object | None) -> tuple[model.Spread, ...]:
    rules = (constraint or {}).get("spread") or ()
    return tuple(
        model.Spread(rule["domain"], None, _count(rule.get("maxSkew"), 1), _is_required(rule)) for rule in rules
    )


def _replica_spread(rule: raw.Object) -> model.Spread:
    return model.Spread(None, rule["topologyKey"], _count(rule.get("maxSkew"), 1), _is_required(rule))


def _is_required(rule: raw.Object) -> bool:
    return bool(rule.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule")


def _count(value: raw.Json, default: int) -> int:
    return default if value is None else int(value)


def _pairs(mapping: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((mapping or {}).items()))
