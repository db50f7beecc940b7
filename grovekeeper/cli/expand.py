"""`grovekeeper expand`: every object that manifests will become, without a cluster."""

import json
import sys
from collections.abc import Mapping

import click
import jsonpatch

from grovekeeper.api import crds, defaults, kubeyaml, names, raw, structural
from grovekeeper.cli import check, manifests
from grovekeeper.expand import gangs, injection, parse, sharing, whole
from grovekeeper.expand.backends import kai
from grovekeeper.reconciler import asks


@click.command(name="expand")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--init-image", default="grovekeeper:latest", show_default=True, help="Image of the startup gate.")
def command(paths: tuple[str, ...], output: str, init_image: str) -> None:
    """Print all objects of sets, pods as the webhook would leave them. Exit code 1: findings, 2: unreadable.

    Topology domains become node labels where the ClusterTopologyBinding is among the files.
    What is refused is said on standard error and left out; the rest is printed all the same.
    """
    loaded = manifests.load(paths)
    judged = [(document, check.judge(document)[0]) for document in loaded.documents]
    found = [finding for _document, findings in judged for finding in findings]
    for text in [*(trouble.text() for trouble in loaded.troubles), *(finding.text() for finding in found)]:
        click.echo(check.printable(text), err=True)
    for note in loaded.notes:
        click.echo(check.printable(f"note: {note}"), err=True)
    sound = [document for document, findings in judged if not findings]
    bindings = {d.object["metadata"]["name"]: d.object for d in sound if d.object["kind"] == names.TOPOLOGY_BINDING}
    result: list[raw.Object] = []
    for document in sound:
        if document.object["kind"] != names.TOPOLOGY_BINDING:
            result += _objects(document, bindings, loaded.claim_templates, init_image)
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": result}, indent=2))
    else:
        for obj in result:
            click.echo(f"---\n{kubeyaml.dumped(obj)}", nl=False)
    sys.exit(2 if loaded.troubles else 1 if found else 0)


def _objects(
    document: manifests.Document, bindings: Mapping[str, raw.Object], templates: whole.Templates, init_image: str
) -> list[raw.Object]:
    """Return what the set becomes: defaults of schema and webhook first, as the API server applies them."""
    obj = document.object
    kind = next(kind for kind in crds.KINDS if kind.kind == obj["kind"])
    stored = structural.pruned({key: obj[key] for key in obj if key != "status"}, crds.schema(kind))
    stored = jsonpatch.apply_patch(stored, defaults.default(stored))
    stored["metadata"].setdefault("namespace", "default")
    w = parse.workload(stored)
    for namespace, name in sorted(sharing.external(w) - templates.keys()):
        text = f"ResourceClaimTemplate {namespace}/{name} is not among the files: its claims are left out"
        click.echo(f"note: {document.title}: {text}", err=True)
    topology_name = gangs.topology_name(w)
    if topology_name and topology_name not in bindings:
        text = f"{names.TOPOLOGY_BINDING} {topology_name} is not among the sound files: its node labels are left out"
        click.echo(check.printable(f"note: {document.title}: {text}"), err=True)
    binding = bindings.get(topology_name or "")
    levels, topology = asks.levels_of(binding), kai.topology_name(binding)
    return whole.objects(stored, injection.Settings(init_image), jsonpatch.apply_patch, levels, templates, topology)
