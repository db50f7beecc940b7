"""`grovekeeper run`: one component in the foreground."""

import asyncio
import errno
import sys
from pathlib import Path

import click

from grovekeeper.kube import errors
from grovekeeper.runtime import logs, settings


@click.command(name="run")
@click.argument("component", type=click.Choice(["webhook", "dispatcher", "worker"]))
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (YAML).")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the pod's, KUBECONFIG, ~/.kube/config.")
@click.option("--queues", default="reconcile,placement", show_default=True, help="What a worker works on.")
def command(component: str, config: Path | None, kubeconfig: Path | None, queues: str) -> None:
    """Run the webhook server, the dispatcher or a worker until SIGTERM."""
    try:
        loaded = settings.load(config)
        logs.setup(component, loaded.log_level, loaded.log_format)
        _start(component, loaded, kubeconfig, [name.strip() for name in queues.split(",")])
    except (settings.SettingsError, errors.KubeError, OSError) as error:
        why = str(error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why = f"{error.strerror}: stop what listens there, or set webhook.port or metrics_port"
        click.echo(f"grovekeeper {component}: {why}", err=True)
        sys.exit(2)


def _start(component: str, loaded: settings.Settings, kubeconfig: Path | None, queues: list[str]) -> None:
    import uvloop

    if component == "worker":
        from grovekeeper.kube import credentials
        from grovekeeper.reconciler import main as reconciler
        from grovekeeper.reconciler import worker

        unknown = sorted({*queues} - {worker.RECONCILE, worker.PLACE})
        if unknown:
            known = f"{worker.RECONCILE} and {worker.PLACE}"
            raise settings.SettingsError(f'--queues: there is no queue "{unknown[0]}": there are {known}')
        # Said before anybody waits for Redis.
        asyncio.run(credentials.load(kubeconfig))
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        reconciler.run_worker(loaded, kubeconfig, queues)
        return
    if component == "dispatcher":
        from grovekeeper.reconciler import main as reconciler

        work = reconciler.run_dispatcher(loaded, kubeconfig)
    else:
        from grovekeeper.webhooks import main as webhook

        work = webhook.run(loaded, kubeconfig)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
