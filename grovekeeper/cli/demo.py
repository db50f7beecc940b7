"""`grovekeeper demo`: the whole path on an embedded cluster, from a Git repository to a placed, running gang."""

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import click
from dulwich.objects import Commit, Tree
from dulwich.repo import Repo
from rich.console import Console
from rich.live import Live

from grovekeeper.api import conditions, kubeyaml, names, raw
from grovekeeper.cli import demo_manifests, demo_view
from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.embedded.installation import Installation, nodes

_READY_SECONDS = 60
_MANAGER = "demo-gitops"
_AUTHOR = b"Demo <demo@example.com>"
_SHORT = 7
"""Characters of a hash that are shown."""
_PATHS = {
    names.PODGANGSET: "/apis/grove.io/v1alpha1/namespaces/default/podgangsets",
    names.TOPOLOGY_BINDING: "/apis/grove.io/v1alpha1/clustertopologybindings",
}

_NODES = "/api/v1/nodes"
_PODS = "/api/v1/namespaces/default/pods"
_GANGS = "/apis/scheduler.grove.io/v1alpha1/namespaces/default/podgangs"


class DemoError(Exception):
    """Something did not come up; the text says what and what it said itself."""


@click.command(name="demo")
@click.option("--keep", is_flag=True, help="Leave everything running and print a kubeconfig.")
def command(keep: bool) -> None:
    """Sync a Git repository to an embedded cluster and watch gangs being placed. Needs no cluster and no Redis."""
    console = Console()
    # Both ways to be ended leave no processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(console, keep=keep)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        sys.exit(0 if keep else 130)
    except (DemoError, RefusedError, RuntimeError, TimeoutError, OSError) as error:
        console.print(f"[red]demo failed:[/] {error}")
        sys.exit(1)


def _run(console: Console, *, keep: bool) -> None:
    begin = time.monotonic()
    console.print("[bold]1[/] embedded cluster: API server, scheduler, 28 nodes in 4 racks")
    # Pods take a moment to become ready, as real ones do: the order in which they start is there to be seen.
    with EmbeddedCluster(ready_after=0.4) as cluster:
        for node in nodes("node-", 28, **{"nvidia.com/gpu": "8"}):
            cluster.request("POST", "/api/v1/nodes", node)
        console.print("[bold]2[/] Grovekeeper: Redis, webhook server over TLS, dispatcher, Celery worker")
        with Installation(cluster) as installation, tempfile.TemporaryDirectory() as folder:
            stage = _Stage(console, cluster, installation, begin)
            repository = _Repository(Path(folder))
            first = repository.commit(demo_manifests.FIRST, "Serve four models")
            console.print(f"[bold]3[/] sync of commit {first}: four models; server-side apply, dry-run first")
            stage.sync(repository)
            second = repository.commit(demo_manifests.SECOND, "Scale embed to three gangs, chat to llm-server:1.5.0")
            console.print(f"[bold]4[/] sync of commit {second}: three gangs of embed, a new image for chat")
            stage.sync(repository)
            stage.show_result()
            console.print(f"[green]everything is up[/] after {time.monotonic() - begin:.0f} s")
            if keep:
                console.print(f"left running until Ctrl-C; try in another terminal\n{_hints(cluster)}", soft_wrap=True)
                signal.pause()


def _hints(cluster: EmbeddedCluster) -> str:
    lines = [
        f"export KUBECONFIG={cluster.kubeconfig}",
        "kubectl get pgs,pclq,pcsg,pg,pods -o wide",
        "kubectl scale pgs embed --replicas 1",
        f"{sys.argv[0]} tree chat",
    ]
    return "\n".join(f"  {line}" for line in lines)


class _Repository:
    """A small Git repository with manifests, as a team keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._repo = Repo.init(folder)

    def commit(self, files: dict[str, str], message: str) -> str:
        """Write files, commit, and return the short hash."""
        for name, text in files.items():
            (self.folder / name).write_text(text)
        tree = self._repo.get_worktree()
        tree.stage([*files])
        # Whatever the user's own settings say: nobody is asked for a key.
        made = tree.commit(message=message.encode(), author=_AUTHOR, committer=_AUTHOR, sign=False)
        return made.decode()[:_SHORT]

    def head(self) -> list[raw.Object]:
        """Return the objects of the last commit, from Git and not from the folder."""
        commit = cast(Commit, self._repo[self._repo.head()])
        entries = cast(Tree, self._repo[commit.tree]).items()
        texts = (self._repo[entry.sha].as_raw_string().decode() for entry in entries)
        return [kubeyaml.documents(text)[0][0].value for text in texts]


class _Stage:
    """Syncs commits and shows what becomes of them."""

    def __init__(self, console: Console, cluster: EmbeddedCluster, installation: Installation, begin: float) -> None:
        self._console = console
        self._cluster = cluster
        self._installation = installation
        self._begin = begin
        self._journal = demo_view.Journal()

    def sync(self, repository: _Repository) -> None:
        """Apply every object of the commit as a GitOps tool does, and show its way; raise DemoError if it is long."""
        objects = sorted(repository.head(), key=lambda obj: str(obj["kind"]))
        for dry in ("&dryRun=All", ""):
            for obj in objects:
                path = f"{_PATHS[obj['kind']]}/{obj['metadata']['name']}?fieldManager={_MANAGER}&force=true{dry}"
                self._cluster.request("PATCH", path, obj, content="application/apply-patch+yaml")
        wanted = [obj["metadata"]["name"] for obj in objects if obj["kind"] == names.PODGANGSET]
        deadline = time.monotonic() + _READY_SECONDS
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            while not self._look(live, wanted):
                if time.monotonic() > deadline:
                    raise DemoError(f"not ready within {_READY_SECONDS} s\n{self._installation.logs()}")
                time.sleep(0.15)

    def _look(self, live: Live, wanted: list[str]) -> bool:
        """Show what is there now; return whether every set is ready and every gang's status has come to rest."""
        sets = {s["metadata"]["name"]: s for s in self._cluster.request("GET", _PATHS[names.PODGANGSET])["items"]}
        view = self._view()
        for text in self._journal.look(view):
            self._console.print(f"  {time.monotonic() - self._begin:4.1f} s  {text}", soft_wrap=True, highlight=False)
        live.update(view.progress())
        return all(_is_ready(sets.get(name)) for name in wanted) and set(view.phases().values()) == {"Running"}

    def show_result(self) -> None:
        """Print where every gang is, and what it runs."""
        self._console.print(self._view().result())

    def _view(self) -> demo_view.View:
        nodes, pods, gangs = (self._cluster.request("GET", path)["items"] for path in (_NODES, _PODS, _GANGS))
        return demo_view.View(pods, gangs, {node["metadata"]["name"]: node["metadata"]["labels"] for node in nodes})


def _is_ready(obj: raw.Object | None) -> bool:
    if obj is None:
        return False
    current = (obj.get("status") or {}).get("observedGeneration") == obj["metadata"].get("generation")
    return current and conditions.is_true(obj, "Ready")
