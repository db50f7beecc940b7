"""`grovekeeper rollback`: give a set an earlier template, or show its history."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import jsonpatch
from jsonpointer import JsonPointer

from grovekeeper.api import names, patch, raw
from grovekeeper.cli import cluster
from grovekeeper.expand import history, parse
from grovekeeper.kube import resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.reconciler import revisions

_TOOLS = {
    "argocd.argoproj.io/": "Argo CD",
    "kustomize.toolkit.fluxcd.io/": "Flux",
    "helm.toolkit.fluxcd.io/": "Flux",
}
_MANAGERS = {"argocd-controller": "Argo CD", "kustomize-controller": "Flux", "helm-controller": "Flux"}
_LONGEST = 100


class Refused(Exception):
    """What was asked for cannot or should not be done; the text says what to do instead."""


@dataclass(frozen=True, slots=True)
class History:
    """A set and its revisions, the newest last."""

    found: raw.Object
    revisions: Sequence[raw.Object]

    @property
    def current(self) -> str:
        """Return the name of the revision of the set's template, whether it is there or not."""
        return history.name(parse.workload(self.found))


@click.command(name="rollback")
@click.argument("name")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--to-revision", type=click.IntRange(min=1), help="Default: the one before the current.")
@click.option("--list", "listing", is_flag=True, help="Show the history and change nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would change and change nothing.")
@click.option("--force", is_flag=True, help="Also where Argo CD or Flux would take it back.")
@click.option("--kubeconfig", type=click.Path(path_type=Path))
def command(
    name: str,
    namespace: str,
    to_revision: int | None,
    listing: bool,
    dry_run: bool,
    force: bool,
    kubeconfig: Path | None,
) -> None:
    """Give a set the template of an earlier revision. Exit code 1: refused, 2: no answer from the cluster."""
    try:
        if listing:
            lines = listed(asyncio.run(_read(name, namespace, kubeconfig)))
        else:
            lines = asyncio.run(_roll_back(name, namespace, kubeconfig, to_revision, dry_run=dry_run, force=force))
    except Refused as error:
        click.echo(f"grovekeeper rollback: {error}", err=True)
        sys.exit(1)
    for line in lines:
        click.echo(line)


async def _read(name: str, namespace: str, kubeconfig: Path | None) -> History:
    async with cluster.connected(kubeconfig) as client:
        return await _history(client, name, namespace)


async def _history(client: HttpClient, name: str, namespace: str) -> History:
    found = await cluster.find_set(client, name, namespace)
    labels = f"{names.LABEL_PART_OF}={name}"
    every = (await client.list(resources.CONTROLLER_REVISIONS, namespace, labels=labels)).items
    uid = found["metadata"]["uid"]
    mine = [r for r in every if any(ref["uid"] == uid for ref in r["metadata"].get("ownerReferences") or ())]
    return History(found, sorted(mine, key=revisions.number))


async def _roll_back(
    name: str, namespace: str, kubeconfig: Path | None, number: int | None, *, dry_run: bool, force: bool
) -> list[str]:
    async with cluster.connected(kubeconfig) as client:
        history = await _history(client, name, namespace)
        tool = managed_by(history.found)
        if tool is not None and not force:
            raise Refused(
                f"{history.found['kind']} {name} is managed by {tool}, which would take the change back: revert the "
                "commit in Git instead (or pass --force and suspend the tool first)"
            )
        target = chosen(history, number)
        lines = changes(history.found["spec"]["template"], target["data"])
        title = f"{history.found['kind']} {name}: revision {target['revision']}"
        if not lines:
            return [f"{title} is what it has already: nothing to do"]
        if dry_run:
            return [f"{title} would change", *lines]
        operations = [
            patch.replace("/metadata/resourceVersion", history.found["metadata"]["resourceVersion"]),
            patch.replace("/spec/template", target["data"]),
        ]
        resource = resources.SETS[history.found["kind"]]
        await client.patch(resource, name, namespace, operations, type="json")
        return [f"{title} is back; changed", *lines]


def chosen(history: History, number: int | None) -> raw.Object:
    """Return the revision of this number, or the newest that is not the current one; raise Refused."""
    known = ", ".join(str(entry["revision"]) for entry in history.revisions) or "none"
    if number is None:
        earlier = [entry for entry in history.revisions if entry["metadata"]["name"] != history.current]
        if not earlier:
            raise Refused(f"there is no earlier revision of {history.found['metadata']['name']} (known: {known})")
        return earlier[-1]
    found = next((entry for entry in history.revisions if entry["revision"] == number), None)
    if found is None:
        raise Refused(f"there is no revision {number} (known: {known}): see grovekeeper rollback --list")
    return found


def managed_by(found: raw.Object) -> str | None:
    """Return the GitOps tool that applies the object, by its labels, annotations and field managers; or None."""
    metadata = found["metadata"]
    keys = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
    by_key = (tool for prefix, tool in _TOOLS.items() if any(key.startswith(prefix) for key in keys))
    managers = (_MANAGERS.get(entry.get("manager", "")) for entry in metadata.get("managedFields") or ())
    return next(by_key, None) or next((tool for tool in managers if tool is not None), None)


def changes(old: raw.Object, new: raw.Object) -> list[str]:
    """Return a line for each place in which two templates differ."""
    lines = []
    for operation in jsonpatch.make_patch(old, new).patch:
        path, verb = operation["path"], operation["op"]
        text = f"  {verb} spec.template{path.replace('/', '.')}"
        if verb == "replace":
            text += f": {_short(JsonPointer(path).resolve(old, None))} -> {_short(operation['value'])}"
        elif verb == "add":
            text += f": {_short(operation['value'])}"
        lines.append(text)
    return lines


def listed(history: History) -> list[str]:
    """Return the history as lines, the newest first: number, creation, images."""
    lines = [f"{'REVISION':<10}{'CREATED':<22}IMAGES"]
    for entry in reversed(history.revisions):
        mark = " (current)" if entry["metadata"]["name"] == history.current else ""
        created = entry["metadata"].get("creationTimestamp", "")
        lines.append(f"{entry['revision']:<10}{created:<22}{', '.join(_images(entry['data']))}{mark}")
    return lines


def _images(template: raw.Object) -> list[str]:
    specs = [(clique.get("spec") or {}).get("podSpec") or {} for clique in template.get("cliques") or ()]
    found = [container.get("image", "") for spec in specs for container in spec.get("containers") or ()]
    return list(dict.fromkeys(found))


def _short(value: raw.Json) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
