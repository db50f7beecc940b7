"""`grovekeeper place`: where the gangs of manifests would go, and what would not fit. Changes nothing anywhere."""

import asyncio
import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from grovekeeper.cli import capacity, check, ending, picture, sets, trial


@click.command(name="place")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--nodes", type=click.Path(path_type=Path), help="Nodes as `kubectl get nodes -o json` writes them.")
@click.option("--pods", type=click.Path(path_type=Path), help="Pods that are there already, with --nodes.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Ask for the room of this cluster instead.")
@click.option(
    "--picture", "drawing", type=click.Path(path_type=Path), help="Draw the nodes with all gangs: x.svg, x.html."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    paths: tuple[str, ...],
    nodes: Path | None,
    pods: Path | None,
    kubeconfig: Path | None,
    drawing: Path | None,
    output: str,
) -> None:
    """Answer what-if: place the gangs of manifests, in their order, into the room that there is.

    Exit code 0: everything fits, 1: something does not, 2: something cannot be read.
    """
    capacity.check_sources(nodes, pods, kubeconfig)
    _check_ending(drawing)
    room = capacity.from_files(nodes, pods) if nodes else asyncio.run(capacity.from_cluster(kubeconfig))
    objects, given = sets.read(paths)
    room.bindings.update(given)
    there, room = len(room.pods), room.without(objects)
    if there > len(room.pods):
        text = f"{there - len(room.pods)} pods of these sets are there already: asked is where all would go anew"
        click.echo(f"note: {text}", err=True)
    space = room.room()
    for note in room.notes():
        click.echo(check.printable(f"note: {note}"), err=True)
    answers = [answer for obj in objects for answer in trial.placed(obj, room, space)]
    if drawing is not None:
        text = picture.svg(room, _drawn(answers))
        try:
            drawing.write_text(text if drawing.suffix.lower() == ".svg" else picture.html(text), encoding="utf-8")
        except OSError as error:
            raise ending.UnusableError(f"{drawing} cannot be written ({error.strerror}): name another file") from error
    click.echo(_as_json(answers)) if output == "json" else Console().print(_as_table(answers))
    sys.exit(1 if any(answer.reason for answer in answers) else 0)


_ENDINGS = (".svg", ".html")


def _check_ending(drawing: Path | None) -> None:
    """Raise CapacityError for a file name that would promise another format than the picture has."""
    if drawing is not None and drawing.suffix.lower() not in _ENDINGS:
        why = f"{drawing.suffix} cannot be written" if drawing.suffix else "the name has no ending"
        raise capacity.CapacityError(f"--picture {drawing}: {why}: end the name in {' or '.join(_ENDINGS)}")


def _drawn(answers: list[trial.Answer]) -> list[picture.Placed]:
    return [
        picture.Placed(answer.gang, [(node, answer.asked[pod]) for pod, node in answer.nodes.items()])
        for answer in answers
    ]


def _as_table(answers: list[trial.Answer]) -> Table:
    table = Table(title="Gangs", title_justify="left")
    for column in ("gang", "pods", "nodes", "where"):
        table.add_column(column)
    for answer in answers:
        where = "; ".join(
            f"{key.rpartition('/')[2]} {', '.join(domains)}"
            for key, domains in answer.domains.items()
            if 0 < len(domains) <= 3 and not key.endswith("/hostname")
        )
        if answer.left_out:
            where += f" ({answer.left_out} pods above the minimum find no room)"
        text = f"[red]does not fit:[/] {answer.reason}" if answer.reason else where or "placed"
        table.add_row(answer.gang, str(answer.pods or ""), str(len(set(answer.nodes.values())) or ""), text)
    return table


def _as_json(answers: list[trial.Answer]) -> str:
    items = [
        {
            "gang": answer.gang,
            "fits": not answer.reason,
            "reason": answer.reason,
            "nodes": answer.nodes,
            "domains": {key: list(found) for key, found in answer.domains.items()},
            "podsLeftOut": answer.left_out,
        }
        for answer in answers
    ]
    return json.dumps({"gangs": items, "fits": all(not answer.reason for answer in answers)}, indent=2)
