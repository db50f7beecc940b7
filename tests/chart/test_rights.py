"""Least privilege: the roles that the chart renders give what the code asks for, verb by verb, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from grovekeeper.api import names
from grovekeeper.kube import resources
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler import caches, kinds
from grovekeeper.webhooks import main as webhook
from tests.chart import helm

ROOT = Path(__file__).parents[2]
Rights = dict[tuple[str, str], set[str]]
"""Verbs by API group and resource."""

WATCH = {"list", "watch"}
CHILD = {"get", "create", "patch", "delete"}
"""What `children.ensure` does: it reads what exists already, and deletes again what came too late for its owner."""
ALWAYS: dict[str, set[str]] = {
    # Read before something is taken away, or where a cache may be behind.
    "podgangsets.grove.io": {"get"},
    "podcliquesets.grove.io": {"get"},
    "nodes.": {"get"},
    "podcliques.grove.io": CHILD,
    "podcliquescalinggroups.grove.io": CHILD,
    "podgangs.scheduler.grove.io": CHILD,
    "pods.": CHILD,
    "services.": CHILD,
    "serviceaccounts.": CHILD,
    "roles.rbac.authorization.k8s.io": CHILD,
    "rolebindings.rbac.authorization.k8s.io": CHILD,
    "controllerrevisions.apps": CHILD,
    "poddisruptionbudgets.policy": CHILD,
    "horizontalpodautoscalers.autoscaling": CHILD,
    "resourceclaims.resource.k8s.io": CHILD,
    # Let go of also after autoMnnvl has been switched off.
    "computedomains.resource.nvidia.com": CHILD - {"create"},
    "podgangsets/status.grove.io": {"patch"},
    "podcliquesets/status.grove.io": {"patch"},
    "podcliques/status.grove.io": {"patch"},
    "podcliquescalinggroups/status.grove.io": {"patch"},
    "podgangs/status.scheduler.grove.io": {"patch"},
    "clustertopologybindings/status.grove.io": {"patch"},
    # Nominations; and what the startup gates are given must be held by the giver (pods themselves are, above).
    "pods/status.": {"patch", "get", "list", "watch"},
    "pods/eviction.": {"create"},
    "secrets.": {"create"},
    "events.": {"create", "patch"},
    # Owner references with blockOwnerDeletion (admission plug-in OwnerReferencesPermissionEnforcement).
    "podgangsets/finalizers.grove.io": {"update"},
    "podcliquesets/finalizers.grove.io": {"update"},
    "podcliques/finalizers.grove.io": {"update"},
    "podcliquescalinggroups/finalizers.grove.io": {"update"},
    # The CA bundle.
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": {"get", "patch"},
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {"get", "patch"},
}
OF_PROFILES: dict[str, dict[str, set[str]]] = {
    names.SCHEDULER_KAI: {
        "podgroups.scheduling.run.ai": CHILD - {"delete"},
        # Its levels cannot be changed: it is deleted and made anew.
        "topologies.kai.scheduler": CHILD - {"patch"},
        "podgangs/finalizers.scheduler.grove.io": {"update"},
        "clustertopologybindings/finalizers.grove.io": {"update"},
    },
    names.SCHEDULER_VOLCANO: {
        "podgroups.scheduling.volcano.sh": CHILD - {"delete"},
        "podgangs/finalizers.scheduler.grove.io": {"update"},
    },
    names.SCHEDULER_UPSTREAM: {
        "podgroups.scheduling.k8s.io": CHILD - {"delete"},
        "podgangs/finalizers.scheduler.grove.io": {"update"},
    },
}
OF_DOMAINS = {"computedomains.resource.nvidia.com": {"create"}}
OWN = {"leases.coordination.k8s.io": {"get", "create", "update"}, "secrets.": {"get", "update"}}
"""In our own namespace; of Secrets, that of the certificate alone."""


def granted(objects: list[dict[str, Any]], kind: str) -> Rights:
    found: Rights = {}
    for obj in objects:
        for rule in obj["rules"] if obj["kind"] == kind else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def needed(*tables: dict[str, set[str]], watched: set[Resource] = frozenset()) -> Rights:  # type: ignore[assignment]
    found: Rights = {(resource.group, resource.plural): set(WATCH) for resource in watched}
    for table in tables:
        for name, verbs in table.items():
            plural, _, group = name.partition(".")
            found.setdefault((group, plural), set()).update(verbs)
    return found


@pytest.mark.real
@pytest.mark.parametrize("domains", [False, True])
@pytest.mark.parametrize(
    "profiles", [(), *((name,) for name in OF_PROFILES), tuple(OF_PROFILES)], ids=lambda names: "+".join(names) or "own"
)
def test_the_roles_give_exactly_what_the_code_uses(profiles: tuple[str, ...], domains: bool) -> None:
    chosen = json.dumps([names.SCHEDULER_STOCK, *profiles])
    objects = helm.template(f"schedulers.profiles={chosen}", f"autoMnnvl={str(domains).lower()}")
    watched = {resource for resource, _ in caches.WATCHED.values()} | {*webhook._CACHED}
    watched |= {*kinds.watched(profiles).values()}
    tables = [ALWAYS, *(OF_PROFILES[name] for name in profiles), *([OF_DOMAINS] if domains else [])]
    assert granted(objects, "ClusterRole") == needed(*tables, watched=watched)
    assert granted(objects, "Role") == needed(OWN)


@pytest.mark.real
def test_the_rights_of_one_name_stay_with_it() -> None:
    rules = [rule for obj in helm.template() if obj["kind"] in ("ClusterRole", "Role") for rule in obj["rules"]]
    limited = [rule for rule in rules if "resourceNames" in rule]
    named = {resource: rule["resourceNames"] for rule in limited for resource in rule["resources"]}
    assert named == {
        "secrets": ["grovekeeper-webhook-cert"],
        "mutatingwebhookconfigurations": ["grovekeeper"],
        "validatingwebhookconfigurations": ["grovekeeper"],
    }


CALLS = {
    "client": {verb: {verb} for verb in ("get", "list", "create", "patch", "delete")}
    | {"replace": {"update"}, "apply": {"patch"}},
    "children": {
        "ensure": CHILD,
        "ensure_of": CHILD,
        "delete": {"delete"},
        "delete_unchanged": {"delete"},
        "merge": {"patch"},
        "annotate": {"patch"},
        "reread": {"get"},
        # Of the cache alone.
        "observe": set(),
        "check_owner": set(),
        "changed": set(),
    },
}


def test_what_the_code_asks_for_by_name_is_in_the_table() -> None:
    """Calls that name their kind; most others go through a table of kinds."""
    everything = needed(ALWAYS, *OF_PROFILES.values(), OF_DOMAINS, OWN)
    for resource, _ in caches.WATCHED.values():
        everything.setdefault((resource.group, resource.plural), set()).update(WATCH)
    seen = 0
    for room in ("reconciler", "webhooks", "grovekeeper/kube"):
        for path in (ROOT / room).rglob("*.py"):
            text = re.sub(r"\s+", " ", path.read_text())
            for whom, call, rest in re.findall(
                r"\b_?(client|children)\.(\w+)\( ?((?:ctx, |self\.ctx, |self\._ctx, )?resources\.[A-Z_]+[^)]*)", text
            ):
                name = re.search(r"resources\.([A-Z_]+)", rest).group(1)  # type: ignore[union-attr]
                resource = getattr(resources, name)
                plural = resource.plural + ("/status" if 'subresource="status"' in rest else "")
                if call == "write_status":
                    assert "patch" in everything[resource.group, f"{resource.plural}/status"], (path, name)
                else:
                    assert CALLS[whom][call] <= everything[resource.group, plural], (path, call, name)
                seen += 1
    assert seen > 40
