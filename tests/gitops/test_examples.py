"""Every example passes check, expands, and is what the demo syncs."""

from pathlib import Path

import pytest

from grovekeeper.cli import check, demo_manifests, manifests

EXAMPLES = Path(__file__).parents[2] / "gitops-examples" / "plain"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_example_has_a_readme_and_passes_check(folder: Path) -> None:
    assert (folder / "README.md").exists()
    loaded = manifests.load([str(folder)])
    assert loaded.troubles == []
    assert [check.judge(document) for document in loaded.documents] == [([], [])]


def test_the_demo_syncs_the_examples() -> None:
    files = [*EXAMPLES.glob("*/podgangset.yaml"), EXAMPLES / "topology.yaml"]
    assert sorted(demo_manifests.FIRST.values()) == sorted(path.read_text() for path in files)
