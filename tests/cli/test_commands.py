"""check and expand as a user calls them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grovekeeper.cli.main import main

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


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        pytest.param(GOOD, 0, "1 of 1 manifests are fine", id="good"),
        pytest.param(
            GOOD.replace("name: a\n", "nam: a\n"), 1, ":7:9: PodGangSet demo", id="unknown field with its line"
        ),
        pytest.param(GOOD.replace("image: i", "image: 5"), 1, "must be of type string", id="wrong type"),
        pytest.param(
            GOOD + "      - name: a\n        spec: {podSpec: {containers: [{name: c}]}}\n",
            1,
            "already used",
            id="twice",
        ),
        pytest.param(
            GOOD.replace("  template:", "  template: 1\n  template:"), 2, 'duplicate key "template"', id="duplicate key"
        ),
        pytest.param("", 2, "the file is empty", id="empty"),
        pytest.param("a: [", 2, "not YAML", id="not YAML"),
        pytest.param("apiVersion: v1\nkind: Service\n---\n" + GOOD, 0, "Service passed over", id="another kind"),
    ],
)
def test_check_says_where_and_what(tmp_path: Path, text: str, code: int, word: str) -> None:
    (tmp_path / "set.yaml").write_text(text)
    for target in (tmp_path / "set.yaml", tmp_path):
        found = run("check", str(target))
        assert (found.exit_code, word in found.output) == (code, True), found.output


def test_check_answers_in_json_and_a_missing_file_is_2(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(GOOD.replace("name: a\n", "name: A\n"))
    found = run("check", "-o", "json", str(tmp_path))
    assert json.loads(found.stdout)["findings"][0]["path"] == "spec.template.cliques[0].name"
    assert run("check", str(tmp_path / "none.yaml")).exit_code == 2


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
    ]
