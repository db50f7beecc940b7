"""Both spellings, there and back."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from grovekeeper.api import names
from grovekeeper.cli import convert
from grovekeeper.cli.main import main

EXAMPLES = sorted((Path(__file__).parents[2] / "gitops-examples" / "plain").rglob("*.yaml"))
MIXED = """\
# What serves the models.
apiVersion: grove.io/v1alpha1
kind: PodGangSet   # the first spelling
metadata: {name: demo, labels: {app: "x"}}
spec:
  template:
    cliques:
      - name: a
        spec:
          podSpec:
            affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
              {topologyKey: zone, labelSelector: {matchLabels: {grove.io/podgangset-replica-index: "0"}}}]}}
            containers:
              - name: c
                image: i
                args: ["--name=$(GROVE_PGS_NAME)", '$(GROVE_PGS_INDEX)']
                command:
                  - |
                    # not a comment of YAML
                    echo $GROVE_PGS_NAME
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: mine}
spec: {scaleTargetRef: {apiVersion: grove.io/v1alpha1, kind: PodGangSet, name: demo}}
"""


def there_and_back(text: str) -> str:
    there = convert.convert(text, names.POD_CLIQUE_SET)
    assert there.faults == []
    back = convert.convert(there.text, names.POD_GANG_SET)
    assert back.faults == []
    return back.text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_there_and_back_is_byte_for_byte_the_same(path: Path) -> None:
    text = path.read_text()
    first = next((d for d in names.DIALECTS.values() if f"kind: {d.kind}" in text), names.POD_GANG_SET)
    other = next(d for d in names.DIALECTS.values() if d is not first)
    there = convert.convert(text, other)
    assert there.faults == []
    assert f"kind: {first.kind}" not in there.text
    assert convert.convert(there.text, first).text == text


def test_every_word_changes_and_everything_else_stays() -> None:
    result = convert.convert(MIXED, names.POD_CLIQUE_SET)
    first, _, second = result.text.partition("---")
    assert "kind: PodCliqueSet   # the first spelling" in first
    assert "grove.io/podcliqueset-replica-index" in first
    assert "$(GROVE_PCS_NAME)" in first
    assert "echo $GROVE_PCS_NAME" in first
    assert "PGS" not in first
    assert second == MIXED.partition("---")[2]
    assert "HorizontalPodAutoscaler mine speaks of PodGangSet" in result.notes[0]
    assert there_and_back(MIXED) == MIXED


def test_what_only_one_spelling_has_is_refused_with_its_line() -> None:
    text = MIXED.replace("spec:\n  template:", "spec:\n  replicaSpreadConstraints: []\n  template:", 1)
    (fault,) = convert.convert(text, names.POD_CLIQUE_SET).faults
    assert fault.startswith("6: spec.replicaSpreadConstraints of PodGangSet demo has no counterpart")
    (fault,) = convert.convert(MIXED.replace("image: i", "image: GROVE_PCS_NAME"), names.POD_CLIQUE_SET).faults
    assert "which only a PodCliqueSet has" in fault


def test_a_list_of_objects_is_converted_inside() -> None:
    text = '{"kind": "List", "apiVersion": "v1", "items": [{"kind": "PodGangSet", "metadata": {"name": "x"}}]}'
    result = convert.convert(text, names.POD_CLIQUE_SET)
    assert result.text == text.replace("PodGangSet", "PodCliqueSet")


def test_the_command_prints_writes_and_refuses(tmp_path: Path) -> None:
    file = tmp_path / "set.yaml"
    file.write_text(MIXED)
    result = CliRunner().invoke(main, ["convert", str(file), "--to", "PodCliqueSet"])
    assert result.exit_code == 0
    assert "kind: PodCliqueSet" in result.stdout
    assert file.read_text() == MIXED
    assert CliRunner().invoke(main, ["convert", str(file), "--to", "PodCliqueSet", "-w"]).exit_code == 0
    assert "kind: PodCliqueSet" in file.read_text()
    file.write_text(MIXED.replace("image: i", "image: GROVE_PCS_NAME"))
    refused = CliRunner().invoke(main, ["convert", str(file), "--to", "PodCliqueSet"])
    assert refused.exit_code == 1
    assert f"{file}:15: PodGangSet demo speaks of GROVE_PCS_NAME" in refused.stderr
    file.write_bytes(MIXED.replace("\n", "\r\n").encode())
    assert CliRunner().invoke(main, ["convert", str(tmp_path), "--to", "PodCliqueSet", "-w"]).exit_code == 0
    assert b"kind: PodCliqueSet   # the first spelling\r\n" in file.read_bytes()
    file.write_text("a: [")
    assert CliRunner().invoke(main, ["convert", str(file), "--to", "PodCliqueSet"]).exit_code == 2


def test_shapes_that_no_object_has_are_left_alone() -> None:
    for text in ("kind: {a: b}\nmetadata: [1]\n", "- 1\n- 2\n", "kind: [PodGangSet]\n"):
        assert convert.convert(text, names.POD_CLIQUE_SET).text == text
