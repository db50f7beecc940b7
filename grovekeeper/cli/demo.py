"""`grovekeeper demo`: the whole path on an embedded cluster, from a Git repository to a placed, running gang."""

import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from grovekeeper.api import conditions, kubeyaml, names, raw
from grovekeeper.cli import demo_manifests
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.embedded.installation import Installation, nodes, wait_for
from grovekeeper.expand import plan

_READY_SECONDS = 60
_MANAGER = "demo-gitops"
_PATHS = {
    names.PODGANGSET: "/apis/grove.io/v1alpha1/namespaces/default/podgangsets",
    names.TOPOLOGY_BINDING: "/apis/grove.io/v1alpha1/clustertopologybindings",
}

_GANGS = "/apis/scheduler.grove.io/v1alpha1/namespaces/default/podgangs"


class DemoError(Exception):
    """Something did not come up; the text says what and what it said itself."""


@click.command(name="demo")
@click.option("--keep", is_flag=True, help="Leave everything running and print a kubeconfig.")
def command(keep: bool) -> None:
    """Sync a Git repository to an embedded cluster and watch gangs being placed. Needs no cluster and no Redis."""
    console = Console()
    try:
        _run(console, keep=keep)
    except urllib.error.HTTPError as error:
        console.print(f"[red]demo failed:[/] {error.url}: {error.read().decode()[:2000]}")
        sys.exit(1)
    except (DemoError, RuntimeError, TimeoutError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[red]demo failed:[/] {error}")
        sys.exit(1)


def _run(console: Console, *, keep: bool) -> None:
    begin = time.monotonic()
    with EmbeddedCluster() as cluster:
        console.print("[bold]1[/] embedded cluster: API server, scheduler, kubelets")
        for node in nodes("node-", 28, **{"nvidia.com/gpu": "8"}):
            cluster.request("POST", "/api/v1/nodes", node)
        with Installation(cluster) as installation, tempfile.TemporaryDirectory() as folder:
            console.print("[bold]2[/] Grovekeeper: Redis, webhook server over TLS, dispatcher, Celery worker")
            repository = _Repository(Path(folder))
            first = repository.commit(demo_manifests.FIRST, "Serve four models")
            console.print(f"[bold]3[/] sync of commit {first}: server-side apply, dry-run first")
            _sync(cluster, repository)
            _watch(console, cluster, repository, installation)
            second = repository.commit(demo_manifests.SECOND, "Scale embed to three gangs, chat to a new image")
            console.print(f"[bold]4[/] sync of commit {second}: a scale-up and a changed image")
            _sync(cluster, repository)
            _watch(console, cluster, repository, installation)
            # A gang's status is written once it has come to rest, a moment after its last pod.
            wait_for(lambda: all(_is_running(gang) for gang in cluster.request("GET", _GANGS)["items"]), "every gang")
            console.print(_gangs(cluster))
            console.print(f"[green]everything is up[/] after {time.monotonic() - begin:.0f} s")
            if keep:
                console.print(f"left running until Ctrl-C; try\n  export KUBECONFIG={cluster.kubeconfig}")
                console.print("  kubectl get pgs,pclq,pcsg,pg,pods -o wide")
                signal.sigwait({signal.SIGINT, signal.SIGTERM})


class _Repository:
    """A small Git repository with manifests, as a team keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, files: dict[str, str], message: str) -> str:
        """Write files, commit, and return the short hash."""
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self._git("add", "--all")
        author = ["-c", "user.name=Demo", "-c", "user.email=demo@example.com", "-c", "commit.gpgsign=false"]
        self._git(*author, "commit", "--quiet", "--message", message)
        return self._git("rev-parse", "--short", "HEAD").strip()

    def head(self) -> list[raw.Object]:
        """Return the objects of the last commit, from Git and not from the folder."""
        listed = self._git("ls-tree", "--name-only", "HEAD").split()
        return [kubeyaml.documents(self._git("show", f"HEAD:{name}"))[0][0].value for name in listed]

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the Git of the user's PATH
            cwd=self.folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout


def _sync(cluster: EmbeddedCluster, repository: _Repository) -> None:
    """Apply every object of the commit as a GitOps tool does: all as a dry-run, then for real."""
    objects = sorted(repository.head(), key=lambda obj: str(obj["kind"]))
    for dry in ("&dryRun=All", ""):
        for obj in objects:
            path = f"{_PATHS[obj['kind']]}/{obj['metadata']['name']}?fieldManager={_MANAGER}&force=true{dry}"
            cluster.request("PATCH", path, obj, content="application/apply-patch+yaml")


def _watch(console: Console, cluster: EmbeddedCluster, repository: _Repository, installation: Installation) -> None:
    """Show how pods appear gated, are placed and become ready; raise DemoError when they do not."""
    wanted = [obj["metadata"]["name"] for obj in repository.head() if obj["kind"] == names.PODGANGSET]
    deadline = time.monotonic() + _READY_SECONDS
    with Live(console=console, refresh_per_second=8, transient=not console.is_terminal) as live:
        while time.monotonic() < deadline:
            sets = {s["metadata"]["name"]: s for s in cluster.request("GET", _PATHS[names.PODGANGSET])["items"]}
            live.update(_progress(cluster, sets))
            if all(_is_ready(sets.get(name)) for name in wanted):
                break
            time.sleep(0.15)
        else:
            raise DemoError(f"not ready within {_READY_SECONDS} s\n{installation.logs()}")
    if not console.is_terminal:
        console.print(_progress(cluster, sets))


def _is_ready(obj: raw.Object | None) -> bool:
    if obj is None:
        return False
    current = (obj.get("status") or {}).get("observedGeneration") == obj["metadata"].get("generation")
    return current and conditions.is_true(obj, "Ready")


def _is_running(gang: raw.Object) -> bool:
    return bool((gang.get("status") or {}).get("phase") == "Running")


def _progress(cluster: EmbeddedCluster, sets: dict[str, raw.Object]) -> Table:
    table = Table(title="PodGangSets", title_justify="left")
    for name in ("set", "pods", "gated", "starting", "ready", "state"):
        table.add_column(name, justify="left" if name in ("set", "state") else "right")
    pods = cluster.request("GET", "/api/v1/namespaces/default/pods")["items"]
    for name, obj in sorted(sets.items()):
        mine = [p for p in pods if p["metadata"]["labels"].get(names.LABEL_PART_OF) == name and plan.alive(p)]
        ready = sum(map(plan.ready, mine))
        gated = sum(map(plan.gated, mine))
        state = conditions.find((obj.get("status") or {}).get("conditions"), "Ready") or {}
        text = str(state.get("message", "new"))
        table.add_row(name, str(len(mine)), str(gated), str(len(mine) - ready - gated), str(ready), text)
    return table


def _gangs(cluster: EmbeddedCluster) -> Table:
    """Return the result: each gang, where it is, and how many racks it uses."""
    table = Table(title="Gangs", title_justify="left")
    for name in ("gang", "phase", "pods", "nodes", "racks", "blocks"):
        table.add_column(name)
    by_name = {n["metadata"]["name"]: n for n in cluster.request("GET", "/api/v1/nodes")["items"]}
    pods = cluster.request("GET", "/api/v1/namespaces/default/pods")["items"]
    gangs = cluster.request("GET", _GANGS)["items"]
    for gang in sorted(gangs, key=lambda each: str(each["metadata"]["name"])):
        name = gang["metadata"]["name"]
        mine = [p for p in pods if p["metadata"]["labels"].get(names.LABEL_PODGANG) == name and plan.alive(p)]
        used = sorted({p["spec"]["nodeName"] for p in mine if p["spec"].get("nodeName")})
        places = [
            {by_name[node]["metadata"]["labels"][f"kubernetes.io/{key}"] for node in used} for key in ("rack", "block")
        ]
        racks, blocks = (", ".join(sorted(place)) for place in places)
        phase = (gang.get("status") or {}).get("phase", "Pending")
        table.add_row(name, phase, str(len(mine)), str(len(used)), racks, blocks)
    return table
