"""5,000 pods of mixed gangs on 1,000 fake nodes of the real control plane, with a stock Deployment in between.

`python -m tests.bench.scale [--nodes 1000] [--pods 5000] [--seed 1] [--cycles 2]`. A referee follows the run.
The last lines are `name measured bar ok|short`; the exit code is 1 if one is short.
"""

import argparse
import sys
import time
import tomllib
from collections import Counter
from functools import partial
from pathlib import Path

from grovekeeper.embedded.installation import Installation
from tests.bench import deploy, load, mix, referee
from tests.chart import helm
from tests.controlplane.plane import ControlPlane, Options, cpu_seconds, peak_mebibytes, resident_mebibytes

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["scale"]
_SHOWN = 20


def main() -> int:
    """Run, print and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=2, help="of taking sets away and scaling others, and back")
    options = parser.parse_args()
    begin = time.monotonic()
    gpus = mix.gpus(options.nodes) // mix.BACKGROUND_GPUS
    size = load.Size(
        nodes=options.nodes,
        pods=options.pods,
        largest=64,
        background=(gpus // 10, gpus * 28 // 100, gpus * 8 // 100),
        patience=330,
        cycles=options.cycles,
    )
    with (
        ControlPlane(Options(node_lease_seconds=600)) as plane,
        Installation(plane, rendered=helm.template()) as installation,
    ):
        processes = {name: c.process.pid for name, c in installation.components.items() if c.process is not None}
        place = mix.Place("default", "scale")
        run = load.Load(plane, place, size, load.Deployment(plane, place), _say, partial(_resident, processes))
        try:
            verdict = run.run(options.seed)
        except TimeoutError:
            print(installation.logs())
            raise
        finally:
            _bill(options.pods, processes, deploy.calls(installation), plane)
        print(f"the whole run took {time.monotonic() - begin:.0f} s")
        return _judge(verdict)


def _resident(processes: dict[str, int]) -> str:
    """Return what our processes have in memory now."""
    return ", ".join(f"{name} {resident_mebibytes(pid):.0f} MiB" for name, pid in processes.items())


def _say(line: str) -> None:
    print(line, flush=True)


def _bill(pods: int, processes: dict[str, int], calls: Counter[tuple[str, str]], plane: ControlPlane) -> None:
    cpu = {name: cpu_seconds(pid) for name, pid in processes.items()}
    print(
        f"cpu seconds: {', '.join(f'{name} {value:.1f}' for name, value in cpu.items())}, sum {sum(cpu.values()):.1f}"
    )
    print(f"peak MiB: {', '.join(f'{name} {peak_mebibytes(pid):.0f}' for name, pid in processes.items())}")
    others = ", ".join(f"{name} {plane.cpu_seconds(name):.0f}" for name in plane.processes)
    print(f"cpu seconds of the control plane: {others}")
    writes = sum(count for (verb, resource), count in calls.items() if deploy.is_write(verb, resource))
    print(f"calls per pod of the load: {sum(calls.values()) / pods:.2f}, of which writes {writes / pods:.2f}")
    for (verb, resource), count in sorted(calls.items(), key=lambda entry: -entry[1]):
        if count / pods >= 0.01:
            print(f"  {verb:6} {resource:28} {count / pods:.2f} per pod")


def _judge(verdict: referee.Verdict) -> int:
    print(f"{verdict.compared} bindings compared with their pins; {len(verdict.disagreements)} disagreements")
    for found in verdict.disagreements:
        print(f"  {found}")
    measured = {
        "partial_gangs": verdict.partial,
        "wrong_domains": verdict.wrong,
        "stuck": verdict.stuck,
        "unexplained_disagreements": [str(found) for found in verdict.unexplained],
    }
    short = False
    for name, lines in measured.items():
        for line in lines[:_SHOWN]:
            print(f"  {name}: {line}")
    for name, lines in measured.items():
        bar = LIMITS[name]
        short |= len(lines) > bar
        print(f"scale.{name} {len(lines)} {bar} {'short' if len(lines) > bar else 'ok'}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
