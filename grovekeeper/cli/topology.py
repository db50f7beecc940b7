"""`grovekeeper topology`: a ClusterTopologyBinding from the labels that nodes carry."""

import asyncio
import sys
from pathlib import Path

import click

from grovekeeper.api import kubeyaml
from grovekeeper.api.validate import syntax
from grovekeeper.cli import capacity
from grovekeeper.placement import levels


@click.command(name="topology")
@click.option("--name", default="topology", show_default=True, help="Name of the ClusterTopologyBinding.")
@click.option("--nodes", type=click.Path(path_type=Path), help="Nodes as `kubectl get nodes -o json` writes them.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Ask this cluster instead.")
def command(name: str, nodes: Path | None, kubeconfig: Path | None) -> None:
    """Print a ClusterTopologyBinding with the levels that well-known node labels show; exit code 1 if there is none."""
    if not syntax.is_subdomain(name):
        raise capacity.CapacityError(f'--name "{name}" must be a DNS-1123 subdomain: a-z, 0-9, "-" and "."')
    capacity.check_sources(nodes, None, kubeconfig)
    room = capacity.from_files(nodes, None) if nodes else asyncio.run(capacity.from_cluster(kubeconfig))
    found = levels.detected(room.nodes)
    if not found:
        keys = ", ".join(key for _domain, known in levels.WELL_KNOWN for key in known[:1])
        click.echo(f"grovekeeper topology: most nodes carry none of the well-known labels (such as {keys})", err=True)
        sys.exit(1)
    click.echo(kubeyaml.dumped(levels.binding(name, found)), nl=False)
