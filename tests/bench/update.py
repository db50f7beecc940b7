"""Every gang of a full cluster is updated on the real control plane while others wait for its room.

`python -m tests.bench.update [--racks 14]`. Half of the gangs roll, half move coherently; the bars are in limits.toml.
The last lines are `name measured bar ok|short`; the exit code is 1 if one is short.
"""

import argparse
import sys
import tomllib
from pathlib import Path

from grovekeeper.embedded.installation import Installation
from tests.chart import helm
from tests.controlplane.plane import ControlPlane
from tests.e2e import backlog
from tests.e2e.world import World

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["update"]


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--racks", type=int, default=14)
    racks = parser.parse_args().racks
    with ControlPlane() as plane, Installation(plane, rendered=helm.template()) as installation:
        found = backlog.run(World(plane, installation), racks, patience=400)
    print(
        f"{found.gangs} gangs of 7 pods on {found.gangs * 7} nodes, all updated in {found.seconds:.1f} s: "
        f"{found.kept_domain} kept their rack, {found.kept_nodes} every node; "
        f"{found.taken} pods of the backlog got a node"
    )
    short = False
    measured = {
        "kept_domain_share": (
            found.kept_domain / found.gangs,
            found.kept_domain / found.gangs >= LIMITS["kept_domain_share"],
        ),
        "kept_nodes_share": (
            found.kept_nodes / found.gangs,
            found.kept_nodes / found.gangs >= LIMITS["kept_nodes_share"],
        ),
        "taken": (found.taken, found.taken <= LIMITS["taken"]),
        "seconds_per_gang": (found.seconds / found.gangs, found.seconds / found.gangs <= LIMITS["seconds_per_gang"]),
    }
    for name, (value, fine) in measured.items():
        short |= not fine
        print(f"update.{name} {value:.2f} {LIMITS[name]} {'ok' if fine else 'short'}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
