"""CRDs on a cluster of the tests: the committed ones of the chart, and those of other schedulers."""

import json
import time
from pathlib import Path
from typing import Any

import yaml

from grovekeeper.embedded.administrator import RefusedError
from tests import patience

FOLDER = Path(__file__).parents[1] / "charts" / "grovekeeper" / "crds"
SCHEDULERS = Path(__file__).parent / "schedulers"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(cluster: Any) -> None:
    """Create every CRD of the chart."""
    for path in sorted(FOLDER.glob("*.yaml")):
        cluster.request("POST", _DEFINITIONS, json.loads(path.read_text()))


def install_scheduler(cluster: Any, name: str) -> None:
    """Create the kinds of another scheduler (`kai` or `volcano`) that are not there yet; wait until they are served."""
    for definition in yaml.safe_load_all((SCHEDULERS / f"{name}.yaml").read_text()):
        spec = definition["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        if not _is_served(cluster, path):
            cluster.request("POST", _DEFINITIONS, definition)
            deadline = time.monotonic() + 20 * patience.factor()
            while not _is_served(cluster, path):
                assert time.monotonic() < deadline, f"{path} is not served"
                time.sleep(0.1)


def _is_served(cluster: Any, path: str) -> bool:
    try:
        cluster.request("GET", path)
    except RefusedError as error:
        if error.code in (404, 429, 503):  # unknown, or its storage is not ready yet
            return False
        raise
    return True
