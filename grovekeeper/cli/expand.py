"""`grovekeeper expand`: every object that manifests will become, without a cluster."""

import json
import sys

import click
import jsonpatch
from ruamel.yaml import YAML

from grovekeeper.api import defaults, names, raw
from grovekeeper.cli import check, manifests
from grovekeeper.expand import pods, whole


@click.command(name="expand")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--init-image", default="grovekeeper:latest", show_default=True, help="Image of the startup gate.")
def command(paths: tuple[str, ...], output: str, init_image: str) -> None:
    """Print all objects of sets, pods as the webhook would leave them. Exit code 1: findings, 2: unreadable."""
    loaded = manifests.load(paths)
    for trouble in loaded.troubles:
        click.echo(f"{trouble.file}:{trouble.line}:{trouble.column}: {trouble.message}", err=True)
    if loaded.troubles:
        sys.exit(2)
    result: list[raw.Object] = []
    for document in loaded.documents:
        if document.object["kind"] == names.TOPOLOGY_BINDING:
            continue
        found, _warnings = check.judge(document)
        if found:
            for finding in found:
                click.echo(finding.text(), err=True)
            sys.exit(1)
        obj = jsonpatch.apply_patch(document.object, defaults.default(document.object))
        obj["metadata"].setdefault("namespace", "default")
        result += whole.objects(obj, pods.Settings(init_image), jsonpatch.apply_patch)
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": result}, indent=2))
        return
    writer = YAML()
    writer.explicit_start = True
    writer.representer.ignore_aliases = lambda _data: True
    for obj in result:
        writer.dump(obj, sys.stdout)
