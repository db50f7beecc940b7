"""check and expand as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from grovekeeper.cli import check, manifests
from grovekeeper.cli.main import main
from tests.builders import worked_example

GOOD = """\
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata: {name: demo}
spec:
  template:
    cliques:
      - name: a
        spec: {podSpec: {containers: [{name: c, image: i}]}}
"""


def changed(old: str, new: str, code: int, word: str, *, id: str) -> Any:
    """Return the case of the good manifest with one change."""
    assert old in GOOD
    return pytest.param(GOOD.replace(old, new), code, word, id=id)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        pytest.param(GOOD, 0, "1 of 1 manifests fine", id="good"),
        changed("name: a\n", "nam: a\n", 1, ":7:9: PodGangSet demo", id="unknown field with its line"),
        changed("image: i", "image: 5", 1, "must be of type string", id="wrong type"),
        pytest.param(
            GOOD + "      - name: a\n        spec: {podSpec: {containers: [{name: c}]}}\n",
            1,
            'cliques[1]: Duplicate value: {"name": "a"}: entry 0 has the same',
            id="twice",
        ),
        changed("  template:", "  template: 1\n  template:", 2, 'duplicate key "template"', id="duplicate key"),
        changed(
            "spec:\n  template",
            "spec: {}\nspec:\n  template",
            2,
            'set.yaml:5:1: duplicate key "spec", on line 4, too',
            id="duplicate key with both lines",
        ),
        pytest.param("", 2, "the file is empty", id="empty"),
        changed("{name: demo}", "{name: demo, annotations: [a]}", 1, "metadata.annotations", id="a list"),
        changed(
            "{name: demo}",
            "{name: demo, annotations: {grove.io/mnnvl-group: 5}}",
            1,
            "must be of type string",
            id="an annotation that is no text",
        ),
        pytest.param("# nothing\n---\n---\n", 2, "the file is empty", id="only comments"),
        pytest.param("- 1\n", 2, "must be a mapping with apiVersion and kind, found a list", id="a list"),
        pytest.param("kind: {a: b}\n", 2, "kind must be a text, found a mapping", id="kind of another shape"),
        pytest.param("kind: List\nitems: 5\n", 2, "found an integer", id="items of another shape"),
        changed("{name: demo}", "x", 1, "metadata: Invalid value", id="metadata of another shape"),
        changed("demo", "5", 1, "put it in quotation marks", id="a name that is a number"),
        changed("{name: demo}", "{name: d, namespace: []}", 1, "must be a text, found a list", id="no text"),
        changed("demo", "0", 1, "metadata.name: Invalid value: 0: must be a text", id="zero"),
        pytest.param(GOOD + "      -\n", 1, "cliques[1]: Required value", id="an empty entry"),
        changed("PodGangSet", "PodGangset", 2, "no kind PodGangset: write one of", id="a typo"),
        changed("v1alpha1", "v1", 1, "use grove.io/v1alpha1", id="another version"),
        pytest.param(
            GOOD + "---\n" + GOOD.replace("name: demo", "name: b") + "---\n" + GOOD.replace("image: i", "image: 5"),
            1,
            "2 of 3 manifests fine",
            id="several documents",
        ),
        pytest.param("a: [", 2, "not YAML", id="not YAML"),
        pytest.param("\ta: 1", 2, "set.yaml:1:1: not YAML: found character that cannot start", id="a tab"),
        pytest.param("a: \x00", 2, "set.yaml:1:4: not YAML: the control character U+0000", id="binary"),
        pytest.param("a: " + "[" * 5000, 2, "nested deeper than 200 levels", id="deep"),
        pytest.param("a: &a {b: *a}", 2, "the anchor of alias *a contains itself", id="an endless object"),
        pytest.param("a: *a", 2, "the anchor of alias *a is not there", id="no anchor"),
        pytest.param("{[a]: 1}", 2, "a key must be a text", id="a key of another shape"),
        pytest.param("{1: a, '1': b}", 2, 'duplicate key "1"', id="keys that are the same text"),
        changed("demo", "{{ .Values.name }}", 2, "set.yaml:3:1: a template", id="a Helm template"),
        pytest.param("{{- if .Values.on }}\n" + GOOD + "{{ end }}", 2, "set.yaml:1:1: a template", id="a condition"),
        pytest.param("\ufeff" + GOOD.replace("\n", "\r\n"), 0, "1 of 1 manifests fine", id="from Windows"),
        changed("demo", '"de\\x1bmo"', 1, "de\\x1bmo", id="terminal control"),
        changed("image: i", "image: on", 1, "found a boolean: put it in quotation marks", id="on"),
        changed("{name: demo}", "{name: d, namespace: A B}", 1, "must be a DNS label", id="namespace"),
        changed("image: i", "image: i, resources: {limits: {cpu: 1 core}}", 1, "a quantity such as", id="cpu"),
        changed("{name: c, image: i}", "{name: c}, {name: c}", 1, "containers[1]: Duplicate", id="two of a name"),
        changed("name: a\n", "name: a\n        topologyConstraint: {pack: {}}\n", 1, "pack needs", id="a CEL rule"),
        pytest.param(
            GOOD.replace("{podSpec:", "&s {replicasx: 2, podSpec:") + "      - {name: b, spec: {<<: *s}}\n",
            1,
            "set.yaml:8:19: PodGangSet demo: spec.template.cliques[1].spec.replicasx",
            id="a fault that was merged in",
        ),
        pytest.param(GOOD + "---\n" + GOOD, 0, "set.yaml:10: PodGangSet demo: the name is used at", id="the same name"),
        pytest.param("apiVersion: v1\nkind: List\nitems: [5]\n", 2, "set.yaml:3:9: an object must be", id="an item"),
        pytest.param("kind: List\nitems: []\n", 0, "a List without items passed over", id="an empty list"),
        pytest.param("kind: PodGangSetList\nitems: [" + "{kind: PodGangSet}]", 1, "apiVersion", id="a list of sets"),
        pytest.param("apiVersion: grove.io/v1alpha1\n", 2, "kind is missing: write one of", id="no kind"),
        pytest.param("apiVersion: grove.io/v1alpha1\nkind: PodClique\n", 0, "made from a set", id="a child"),
        pytest.param("apiVersion: v1\nkind: Service\n---\n" + GOOD, 0, "Service passed over", id="another kind"),
    ],
)
def test_check_says_where_and_what(tmp_path: Path, text: str, code: int, word: str) -> None:
    (tmp_path / "set.yaml").write_text(text)
    for target in (tmp_path / "set.yaml", tmp_path):
        found = run("check", str(target))
        assert (found.exit_code, word in found.output) == (code, True), found.output


def test_check_counts_one_finding_as_one(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(GOOD.replace("image: i", "image: 5"))
    assert run("check", str(tmp_path)).stderr == "0 of 1 manifests fine, 1 finding\n"


def test_check_answers_in_json_and_a_missing_file_is_2(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(GOOD.replace("name: a\n", "name: A\n"))
    found = run("check", "-o", "json", str(tmp_path))
    assert json.loads(found.stdout)["findings"][0]["path"] == "spec.template.cliques[0].name"
    assert run("check", str(tmp_path / "none.yaml")).exit_code == 2


def test_check_passes_over_charts_and_hidden_folders_and_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    for name in (".git", ".github", "chart/templates", "sets"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "chart" / "Chart.yaml").write_text("name: chart\nversion: 1.0.0\n")
    for name in (".git/a.yaml", ".github/a.yaml", "chart/templates/a.yaml"):
        (tmp_path / name).write_text("{{ not }} [ YAML")
    (tmp_path / "sets" / "good.yaml").write_text(GOOD)
    os.mkfifo(tmp_path / "pipe.yaml")
    found = run("check", str(tmp_path))
    assert (found.exit_code, "1 of 1 manifests fine" in found.output) == (0, True), found.output
    assert "chart/templates: a Helm chart's templates passed over: check what it renders" in found.output
    (tmp_path / "lost.yaml").symlink_to("nowhere")
    (tmp_path / "latin.yaml").write_bytes(b"a: b\nc: \xe9\n")
    found = run("check", str(tmp_path))
    assert found.exit_code == 2
    assert "lost.yaml: cannot be read (no such file or directory)" in found.output
    assert "latin.yaml:2:4: not UTF-8 text (byte 0xe9)" in found.output


@pytest.mark.parametrize("file", [pytest.param("/dev/stdin", id="a pipe"), pytest.param("-", id="-")])
def test_check_reads_what_is_piped_to_it(file: str) -> None:
    command = [sys.executable, "-m", "grovekeeper.cli", "check", file]
    done = subprocess.run(command, input=GOOD, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "1 of 1 manifests fine, 0 findings\n")


def test_expand_prints_the_pods_as_the_webhook_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(GOOD)
    found = run("expand", "-o", "json", str(tmp_path))
    kinds = [item["kind"] for item in json.loads(found.stdout)["items"]]
    assert kinds == [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Secret",
        "ControllerRevision",
        "Service",
        "PodClique",
        "PodGang",
        "Pod",
        "PodDisruptionBudget",
    ]


@pytest.mark.parametrize(
    ("bad", "code", "said"),
    [
        pytest.param(GOOD.replace("image: i", "image: 5"), 1, "bad.yaml:8:49: PodGangSet demo: spec", id="refused"),
        pytest.param("a: [", 2, "not YAML", id="unreadable"),
    ],
)
def test_expand_prints_the_rest_where_a_file_is_refused(tmp_path: Path, bad: str, code: int, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(bad)
    alone = run("expand", "-o", "json", str(tmp_path))
    assert (alone.exit_code, json.loads(alone.stdout)) == (code, {"apiVersion": "v1", "kind": "List", "items": []})
    (tmp_path / "good.yaml").write_text(GOOD.replace("name: demo", "name: sound"))
    for output, read in (("json", json.loads), ("yaml", lambda text: {"items": list(yaml.safe_load_all(text))})):
        found = run("expand", "-o", output, str(tmp_path))
        items = read(found.stdout)["items"]
        assert (found.exit_code, items[0]["metadata"]["name"]) == (code, "sound"), found.output
        assert "demo" not in found.stdout
        assert said in found.stderr


def test_expand_says_which_topology_it_does_not_have(tmp_path: Path) -> None:
    constraint = "\n    topologyConstraint: {topologyName: dc, pack: {required: rack}}"
    (tmp_path / "set.yaml").write_text(GOOD.replace("  template:", f"  template:{constraint}"))
    want = "note: PodGangSet demo: ClusterTopologyBinding dc is not among the sound files: its node labels are left out"
    binding = """\
apiVersion: grove.io/v1alpha1
kind: ClusterTopologyBinding
metadata: {name: dc}
spec: {levels: [{domain: rack, key: example.com/rack}]}
"""
    for text, there in (("", False), (binding.replace("key: example.com/rack", "key: 5"), False), (binding, True)):
        (tmp_path / "topology.yaml").write_text(text or "kind: Service\n")
        found = run("expand", "-o", "json", str(tmp_path))
        assert (want in found.stderr, "example.com/rack" in found.stdout) == (not there, there), found.output


def places(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of everything in an object."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for _ in (0,) if path] + [each for key, value in entries for each in places(value, (*path, key))]


PLACES = places(worked_example())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "spec", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_check_never_fails_on_what_people_write(changes: list[tuple[tuple[str | int, ...], object]]) -> None:
    obj = worked_example()
    for path, value in changes:
        node: object = obj
        for part in path[:-1]:
            try:
                node = node[part]  # type: ignore[index]  # whatever an earlier change has left there
            except (KeyError, IndexError, TypeError):
                break
        else:
            if isinstance(node, dict) or (
                isinstance(node, list) and isinstance(path[-1], int) and path[-1] < len(node)
            ):
                node[path[-1]] = value  # type: ignore[index]
    loaded = manifests.read("set.json", json.dumps(obj))
    for document in loaded.documents:
        check.judge(document)


SHARING = """\
    resourceSharing: [{name: theirs, namespace: infra, scope: AllReplicas}]
"""
TEMPLATE = """\
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: theirs, namespace: infra}
spec: {spec: {devices: {requests: [{name: r, exactly: {deviceClassName: d}}]}}}
"""


def test_expand_makes_claims_of_the_templates_among_the_files_and_names_those_that_are_not(tmp_path: Path) -> None:
    file = tmp_path / "set.yaml"
    file.write_text(GOOD + SHARING)
    found = run("expand", "-o", "json", str(file))
    assert found.exit_code == 0, found.output
    assert "ResourceClaimTemplate infra/theirs is not among the files" in found.stderr
    assert "ResourceClaim" not in [each["kind"] for each in json.loads(found.stdout)["items"]]
    file.write_text(GOOD + SHARING + TEMPLATE)
    found = run("expand", "-o", "json", str(file))
    items = json.loads(found.stdout)["items"]
    assert [each["metadata"]["name"] for each in items if each["kind"] == "ResourceClaim"] == ["demo-all-theirs"]
    assert found.stderr == ""
    file.write_text(GOOD + TEMPLATE.replace("spec: {spec:", "spec: {specs:"))
    assert run("expand", str(file)).exit_code == 2
