"""`grovekeeper defrag --dry-run`: which gangs to move so that whole racks become free, and what it costs."""

import asyncio
import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.tree import Tree

from grovekeeper.api import raw
from grovekeeper.cli import capacity, check, residents, sets
from grovekeeper.placement import compact


@click.command(name="defrag")
@click.argument("paths", nargs=-1, metavar="[FILE...]")
@click.option("--dry-run", is_flag=True, help="Propose, change nothing. Has to be given: there is no other way yet.")
@click.option("--nodes", type=click.Path(path_type=Path), help="Nodes as `kubectl get nodes -o json` writes them.")
@click.option("--pods", type=click.Path(path_type=Path), help="Pods of all namespaces, with --nodes.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Ask this cluster instead.")
@click.option(
    "--level", help="Level (domain or node label) to free domains of; default: the narrowest of several nodes."
)
@click.option("--at-most", type=click.IntRange(1), help="Free no more domains than this.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    paths: tuple[str, ...],
    dry_run: bool,
    nodes: Path | None,
    pods: Path | None,
    kubeconfig: Path | None,
    level: str | None,
    at_most: int | None,
    output: str,
) -> None:
    """Propose moves of whole gangs that free domains (racks) of a level, with the pods that would restart.

    With --nodes and --pods, FILE... are the sets and topology bindings of the cluster; pods whose set is not among them
    stay where they are. Exit code 0: there is something to gain, 1: there is not, 2: something cannot be read.
    """
    if not dry_run:
        raise capacity.CapacityError("nothing is moved by this command: ask with --dry-run")
    capacity.check_sources(nodes, pods, kubeconfig)
    if paths and nodes is None:
        raise capacity.CapacityError("FILE... needs --nodes and --pods: a cluster's own sets are read from it")
    room, objects = _read(paths, nodes, pods, kubeconfig)
    for note in room.notes():
        click.echo(check.printable(f"note: {note}"), err=True)
    found = compact.plan(residents.residents(objects, room), room.room(), _level(room, level), most=at_most)
    click.echo(_as_json(found)) if output == "json" else Console(soft_wrap=True).print(_as_tree(found))
    sys.exit(0 if found.freed else 1)


def _read(
    paths: tuple[str, ...], nodes: Path | None, pods: Path | None, kubeconfig: Path | None
) -> tuple[capacity.Capacity, list[raw.Object]]:
    if nodes is None:
        return asyncio.run(capacity.with_sets(kubeconfig))
    room = capacity.from_files(nodes, pods)
    objects, given = sets.read(paths)
    room.bindings.update(given)
    return room, objects


def _level(room: capacity.Capacity, wanted: str | None) -> str:
    """Return the label key of the level; raises CapacityError where no node has it or several are meant."""
    known = room.main_levels()
    space = room.room()
    if wanted is None:
        several = [key for key in known.values() if 0 < len(space.domains(key)[1]) * 2 <= len(space)]
        if not several:
            raise capacity.CapacityError("no level has domains of several nodes: name one with --level")
        return several[-1]
    keys = room.keys_of(wanted) or [wanted]
    if len(keys) > 1:
        text = f"--level {wanted}: bindings mean different labels by it: name the label: {' or '.join(keys)}"
        raise capacity.CapacityError(text)
    if not space.domains(keys[0])[1]:
        text = f"--level {wanted}: no node has the label {known.get(wanted, wanted)}"
        raise capacity.CapacityError(f"{text}; the levels are {', '.join(known) or 'not known'}")
    return keys[0]


def _as_tree(found: compact.Plan) -> Tree:
    word = found.level.rpartition("/")[2]
    pods = sum(each.pods() for each in found.freed)
    gangs = len({move.gang for each in found.freed for move in each.moves})
    title = f"{len(found.freed)} domains of {word} can become free, {found.whole} are"
    root = Tree(f"{title}: {gangs} gangs move, {pods} pods restart")
    for freed in found.freed:
        branch = root.add(f"[bold]{word} {freed.domain}[/]: {freed.nodes} nodes free, {freed.pods()} pods restart")
        for move in freed.moves:
            gang = branch.add(f"gang {move.gang}: {len(move.pods)} pods")
            for pod, (before, after) in sorted(move.pods.items()):
                gang.add(f"{pod}: {before} -> {after}")
    for domain, why in sorted(found.stay.items()):
        root.add(f"{word} {domain} stays: {why}")
    if found.freed:
        root.add("to move: cordon the nodes that are to become free, delete the pods listed, uncordon when all are up")
    return root


def _as_json(found: compact.Plan) -> str:
    freed = [
        {
            "domain": each.domain,
            "nodes": each.nodes,
            "podsRestarted": each.pods(),
            "gangs": [
                {
                    "gang": move.gang,
                    "pods": [{"pod": pod, "from": old, "to": new} for pod, (old, new) in sorted(move.pods.items())],
                }
                for move in each.moves
            ],
        }
        for each in found.freed
    ]
    return json.dumps({"level": found.level, "free": found.whole, "freed": freed, "stay": dict(found.stay)}, indent=2)
