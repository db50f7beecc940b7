"""`grovekeeper place`: where the gangs of manifests would go, and what would not fit. Changes nothing anywhere."""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import jsonpatch
from rich.console import Console
from rich.table import Table

from grovekeeper.api import defaults, names, raw
from grovekeeper.cli import capacity, check, manifests, picture
from grovekeeper.expand import cliques, gangs, groups, model, parse, pods
from grovekeeper.kube import errors
from grovekeeper.placement import place, request, snapshot
from grovekeeper.reconciler import asks


@dataclass(slots=True)
class Answer:
    """What became of one gang."""

    gang: str
    pods: int
    nodes: dict[str, str] = field(default_factory=dict)
    domains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: int = 0
    reason: str = ""


@click.command(name="place")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--nodes", type=click.Path(path_type=Path), help="Nodes as `kubectl get nodes -o json` writes them.")
@click.option("--pods", type=click.Path(path_type=Path), help="Pods that are there already, with --nodes.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Ask for the room of this cluster instead.")
@click.option("--picture", "drawing", type=click.Path(path_type=Path), help="Write an SVG of the nodes with all gangs.")
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
    try:
        room = capacity.from_files(nodes, pods) if nodes else asyncio.run(capacity.from_cluster(kubeconfig))
    except (capacity.CapacityError, errors.KubeError) as error:
        click.echo(f"grovekeeper place: {error}", err=True)
        sys.exit(2)
    sets, given = _sets(paths)
    room.bindings.update(given)
    space = room.room()
    answers = [answer for obj in sets for answer in placed(obj, room, space)]
    if drawing is not None:
        drawing.write_text(picture.svg(room, {answer.gang: answer.nodes for answer in answers}), encoding="utf-8")
    click.echo(_as_json(answers)) if output == "json" else Console().print(_as_table(answers))
    sys.exit(1 if any(answer.reason for answer in answers) else 0)


def placed(obj: raw.Object, room: capacity.Capacity, space: snapshot.Snapshot) -> list[Answer]:
    """Place all gangs of a set, base gangs before scaled gangs, and charge them to the snapshot."""
    w = parse.workload(obj)
    levels = room.levels_of(gangs.topology_name(w))
    found = [gang for index in range(w.replicas) for gang in gangs.of_replica(w, index, model.Live())]
    found.sort(key=lambda gang: gang.base is not None)
    bases: dict[str, tuple[str, ...]] = {}
    answers = []
    for gang in found:
        if gang.base is not None and not bases.get(gang.base):
            answers.append(Answer(gang.name, 0, reason=f"its base gang {gang.base} does not fit"))
            continue
        answer = _one(w, gang, levels, space, bases.get(gang.base or "", ()))
        if gang.base is None:
            bases[gang.name] = tuple(sorted(set(answer.nodes.values())))
        answers.append(answer)
    return answers


def _one(
    w: model.Workload, gang: gangs.Gang, levels: dict[str, str], space: snapshot.Snapshot, near: tuple[str, ...]
) -> Answer:
    wanted = {member.fqn: _pods(w, gang, member) for member in gang.members}
    count = sum(map(len, wanted.values()))
    ask = asks.ask(w, gang, wanted, levels, asks.Around(near=near))
    answer = place.place(ask, space)
    if isinstance(answer, request.Reasons):
        return Answer(gang.name, count, reason=answer.summary)
    by_name = {pod["metadata"]["name"]: pod for each in wanted.values() for pod in each}
    for name, node in answer.nodes.items():
        space.assume(by_name[name]["metadata"]["uid"], by_name[name]["spec"], node)
    return Answer(gang.name, count, dict(answer.nodes), dict(answer.domains), len(answer.left_out))


def _pods(w: model.Workload, gang: gangs.Gang, member: gangs.Member) -> list[raw.Object]:
    """Return the pods of a clique as the webhook would leave them, with names that tell them apart."""
    clique = _clique(w, gang, member)
    result = []
    for index in range(member.template.replicas):
        pod = pods.created(w, clique, index, "")
        pod = jsonpatch.apply_patch(pod, pods.injection(pod, pods.Settings("grovekeeper:latest")))
        pod["metadata"]["name"] = f"{member.fqn}-{index}"
        pod["metadata"]["uid"] = f"{w.namespace}/{member.fqn}-{index}"
        result.append(pod)
    return result


def _clique(w: model.Workload, gang: gangs.Gang, member: gangs.Member) -> raw.Object:
    group = w.group_of(member.template.name)
    if group is None:
        return cliques.standalone(w, gang.index, member.template)
    owner = groups.group(w, gang.index, group)
    index = int(member.fqn.removeprefix(f"{owner['metadata']['name']}-").partition("-")[0])
    return cliques.member(w, gang.index, group, index, member.template, owner)


def _sets(paths: tuple[str, ...]) -> tuple[list[raw.Object], dict[str, dict[str, str]]]:
    loaded = manifests.load(paths)
    for trouble in loaded.troubles:
        click.echo(f"{trouble.file}:{trouble.line}:{trouble.column}: {trouble.message}", err=True)
    if loaded.troubles:
        sys.exit(2)
    result = []
    for document in loaded.documents:
        found, _warnings = check.judge(document)
        for finding in found:
            click.echo(finding.text(), err=True)
        if found:
            sys.exit(2)
        if document.object["kind"] != names.TOPOLOGY_BINDING:
            obj = jsonpatch.apply_patch(document.object, defaults.default(document.object))
            obj["metadata"].setdefault("namespace", "default")
            result.append(obj)
    bindings = (d.object for d in loaded.documents if d.object["kind"] == names.TOPOLOGY_BINDING)
    return result, capacity.bindings(bindings)


def _as_table(answers: list[Answer]) -> Table:
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


def _as_json(answers: list[Answer]) -> str:
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
