"""What helm makes of the chart; helm comes with the control plane's binaries."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from grovekeeper.embedded import registration
from tests.controlplane import binaries

CHART = Path(__file__).parents[2] / "charts" / "grovekeeper"


def template(*values: str) -> list[dict[str, Any]]:
    """Return what `helm template` makes of the chart, with values as `--set` takes them."""
    command = [str(binaries.ensure("helm")), "template", "grovekeeper", str(CHART)]
    command += ["--namespace", registration.NAMESPACE, *(part for value in values for part in ("--set", value))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]
