"""Sets of chart values in which any two choices stand together at least once."""

import functools
import itertools
import json

from grovekeeper.api import names

CERTIFIED = {"certMode": "files", "certManager": {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}, "replicas": 1}
APART = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"team": "ml"}}}
AFFINITY = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [APART]}}
PLACED = (
    'tolerations=[{"key": "system", "operator": "Exists"}]',
    f"affinity={json.dumps(AFFINITY)}",
    'nodeSelector={"pool": "system"}',
    'imagePullSecrets=[{"name": "r"}]',
    'podLabels={"team": "ml"}',
    'podAnnotations={"a": "b"}',
    'extraEnv=[{"name": "HTTPS_PROXY", "value": "p"}]',
)
CHOICES: dict[str, tuple[tuple[str, ...], ...]] = {
    "webhook": ((), ('webhook={"certMode": "files", "replicas": 3}',), (f"webhook={json.dumps(CERTIFIED)}",)),
    "redis": (
        (),
        ("redis.url=redis://r:6379",),
        ('redis={"url": "rediss://r:1/0", "passwordSecret": {"name": "p", "key": "k"}}',),
    ),
    "domains": ((), ("autoMnnvl=true",)),
    "monitor": ((), ('podMonitor={"enabled": true, "labels": {"release": "prometheus"}}',)),
    "image": ((), (f"image.digest=sha256:{'0' * 64}",), ("image.tag=v1", "image.pullPolicy=Always")),
    "others": ((), ("worker.replicas=3", "dispatcher.replicas=3"), ("worker.replicas=1", "dispatcher.replicas=1")),
    "schedulers": ((), (f"schedulers={json.dumps({'profiles': names.SCHEDULERS, 'default': 'volcano'})}",)),
    "where": ((), PLACED),
    "rest": ((), ("protection=false", 'settings={"reconcile": {"batch": 8}}', "priorityClassName=", "logLevel=debug")),
}

Choice = tuple[str, tuple[str, ...]]


def combinations() -> list[tuple[str, ...]]:
    """Return sets of values, as few as the greedy way finds."""
    everything = [tuple(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]
    wanted = frozenset[frozenset[Choice]]().union(*map(_pairs, everything))
    chosen = []
    while wanted:
        best = max(everything, key=lambda each: len(wanted & _pairs(each)))
        wanted -= _pairs(best)
        chosen.append(tuple(value for _, values in best for value in values))
    return chosen


@functools.cache
def _pairs(choices: tuple[Choice, ...]) -> frozenset[frozenset[Choice]]:
    return frozenset(frozenset(pair) for pair in itertools.combinations(choices, 2))
