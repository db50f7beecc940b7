"""Sets and topology bindings of manifests, checked and with defaults, for the verbs that ask what if."""

import sys

import click
import jsonpatch

from grovekeeper.api import defaults, names, raw
from grovekeeper.cli import capacity, check, manifests


def read(paths: tuple[str, ...]) -> tuple[list[raw.Object], dict[str, dict[str, str]]]:
    """Return the sets, and the levels by name of each binding; say what is wrong and end with 2 where something is."""
    loaded = manifests.load(paths)
    for trouble in loaded.troubles:
        click.echo(check.printable(trouble.text()), err=True)
    if loaded.troubles:
        sys.exit(2)
    result = []
    for document in loaded.documents:
        found, _warnings = check.judge(document)
        for finding in found:
            click.echo(check.printable(finding.text()), err=True)
        if found:
            sys.exit(2)
        if document.object["kind"] != names.TOPOLOGY_BINDING:
            obj = jsonpatch.apply_patch(document.object, defaults.default(document.object))
            obj["metadata"].setdefault("namespace", "default")
            result.append(obj)
    if paths and not result:
        click.echo(f"note: there is no {' or '.join(names.DIALECTS)} in {', '.join(paths)}", err=True)
    bindings = (d.object for d in loaded.documents if d.object["kind"] == names.TOPOLOGY_BINDING)
    return result, capacity.bindings(bindings)
