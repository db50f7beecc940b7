"""Manifests for tests, small and readable."""

from typing import Any

Object = dict[str, Any]


def clique(name: str, replicas: int | None = 1, **spec: Any) -> Object:
    body: Object = {
        "roleName": name,
        "podSpec": {"containers": [{"name": "main", "image": "example.com/app:1"}]},
        **spec,
    }
    if replicas is not None:
        body["replicas"] = replicas
    return {"name": name, "spec": body}


def podgangset(*cliques: Object, kind: str = "PodGangSet", replicas: int = 1, **template: Any) -> Object:
    return {
        "apiVersion": "grove.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "demo", "namespace": "default", "uid": "set-uid"},
        "spec": {"replicas": replicas, "template": {"cliques": list(cliques), **template}},
    }


def group(name: str, *members: str, replicas: int = 1, minimum: int = 1, **more: Any) -> Object:
    return {"name": name, "cliqueNames": list(members), "replicas": replicas, "minAvailable": minimum, **more}


def worked_example(kind: str = "PodGangSet") -> Object:
    """A frontend, a prefill group of two replicas and a decode group of one."""
    result = podgangset(
        clique("frontend", 2),
        clique("pleader"),
        clique("pworker", 3),
        clique("dleader"),
        clique("dworker", 2),
        kind=kind,
        podCliqueScalingGroups=[
            group("prefill", "pleader", "pworker", replicas=2),
            group("decode", "dleader", "dworker"),
        ],
    )
    result["metadata"]["name"] = "mn-disagg"
    return result
