"""The committed CRDs on a cluster of the tests."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "charts" / "grovekeeper" / "crds"


def install(cluster: Any) -> None:
    """Create every CRD of the chart."""
    for path in sorted(FOLDER.glob("*.yaml")):
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        cluster.request("POST", definitions, json.loads(path.read_text()))
