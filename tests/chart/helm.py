"""What helm makes of the chart; helm comes with the control plane's binaries."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from grovekeeper.embedded import registration
from tests.controlplane import binaries

CHART = Path(__file__).parents[2] / "charts" / "grovekeeper"


def template(*values: str) -> list[dict[str, Any]]:
    """Return what `helm template` makes of the chart, with values as `--set` or `--set-json` takes them."""
    done = tried(*values)
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def tried(*values: str) -> subprocess.CompletedProcess[str]:
    """Render the chart, whatever comes of it."""
    options = [part for value in values for part in (_option(value), value)]
    return run("template", "grovekeeper", str(CHART), "--namespace", registration.NAMESPACE, *options)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm, whatever comes of it."""
    return subprocess.run([str(binaries.ensure("helm")), *arguments], capture_output=True, text=True, check=False)


def _option(value: str) -> str:
    try:
        return "--set-json" if isinstance(json.loads(value.partition("=")[2]), dict | list) else "--set"
    except ValueError:
        return "--set"
