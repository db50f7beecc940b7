"""Every field that people write, with a value of another type: `check` names its line, its path and the reason."""

import copy
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grovekeeper.api import crds, names
from grovekeeper.cli import check, manifests
from tests.builders import worked_example

TOPOLOGY = Path(__file__).parents[2] / "gitops-examples" / "plain" / "topology.yaml"
SAMPLED = 100
"""How many fields of a pod are tried: a PodSpec has a thousand, which all go the same way."""
MARK = "@WRONG@"
Step = str | int


def fields(schema: dict[str, Any], path: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], dict[str, Any]]]:
    """Yield path and schema of everything below a schema; 0 stands for an item, `k` for a key of a map."""
    for name, below in (schema.get("properties") or {}).items():
        if path or name == "spec":
            yield (*path, name), below
            yield from fields(below, (*path, name))
    for step, below in ((0, schema.get("items")), ("k", schema.get("additionalProperties"))):
        if isinstance(below, dict):
            yield (*path, step), below
            yield from fields(below, (*path, step))


def is_of_pod(path: tuple[Step, ...]) -> bool:
    return "podSpec" in path[:-1]


def wrong(schema: dict[str, Any]) -> str:
    """Return YAML of another type than the schema's."""
    if schema.get("x-kubernetes-int-or-string"):
        return "[5]"
    return "4711" if schema["type"] == "string" else "wrong"


def text_with(obj: dict[str, Any], path: tuple[Step, ...], value: str) -> tuple[str, int]:
    """Return the manifest with a value at a path, whatever was there, and the line of it."""
    changed = copy.deepcopy(obj)
    node: Any = changed
    for step, following in itertools.pairwise(path):
        fresh: Any = [] if following == 0 else {}
        if isinstance(step, int):
            node[:1] = node[:1] or [fresh]
        elif not isinstance(node.get(step), type(fresh)):
            node[step] = fresh
        node = node[step]
    if path[-1] == 0:
        node[:1] = [MARK]
    else:
        node[path[-1]] = MARK
    text = yaml.safe_dump(changed, width=10_000)
    line = next(number for number, entry in enumerate(text.splitlines(), 1) if MARK in entry)
    return text.replace(f"'{MARK}'", value), line


def written(path: tuple[Step, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def cases() -> Iterator[Any]:
    objects = {
        names.PODGANGSET: worked_example(),
        names.PODCLIQUESET: {**worked_example(), "kind": names.PODCLIQUESET},
        names.TOPOLOGY_BINDING: yaml.safe_load(TOPOLOGY.read_text()),
    }
    for kind in crds.KINDS:
        if kind.kind in objects:
            found = list(fields(crds.schema(kind)))
            ours = [each for each in found if not is_of_pod(each[0])]
            of_pods = [each for each in found if is_of_pod(each[0])]
            if of_pods:
                ours += random.Random(kind.kind).sample(of_pods, SAMPLED)
            yield pytest.param(objects[kind.kind], ours, id=kind.kind)


@pytest.mark.parametrize(("obj", "listed"), list(cases()))
def test_a_value_of_another_type_is_named_with_line_path_and_reason(
    obj: dict[str, Any], listed: list[tuple[tuple[Step, ...], dict[str, Any]]]
) -> None:
    assert len(listed) > 5
    for path, schema in listed:
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            continue
        text, line = text_with(obj, path, wrong(schema))
        (document,) = manifests.read("set.yaml", text).documents
        found = {(f.file, f.line, f.path): f for f in check.judge(document)[0]}
        finding = found.get(("set.yaml", line, written(path)))
        assert finding is not None, (written(path), line, [f.text() for f in found.values()][:3])
        assert finding.reason == "Invalid", finding
        assert "must be" in finding.message, finding
        assert finding.text().startswith(f"set.yaml:{line}:")
