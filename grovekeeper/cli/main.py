"""The command line. Verbs are loaded when they are used, so that `check` starts fast."""

import errno
import importlib
import os
import sys

import click

from grovekeeper import __version__
from grovekeeper.api import raw
from grovekeeper.cli import ending

VERBS = {
    "check": "Validate manifests, with file and line",
    "expand": "Print every object that manifests become",
    "convert": "Rewrite manifests from one spelling of the top kind to the other",
    "place": "Answer what-if: where would gangs go",
    "defrag": "Propose moves that free whole racks",
    "topology": "Find the cluster's topology levels",
    "explain": "Say why pods of a set wait",
    "tree": "Show a set, its gangs, cliques and pods",
    "rollback": "Give a set an earlier template, or show its history",
    "demo": "Run the whole path on an embedded cluster",
    "run": "Run a component of Grovekeeper",
}

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Lazy(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"grovekeeper.cli.{name}").command
        return command

    def invoke(self, ctx: click.Context) -> raw.Json:
        """Run the verb; what it cannot use, or what a cluster refuses, is a sentence and exit code 2."""
        with ending.said(ctx):
            return super().invoke(ctx)

    def main(self, *args: raw.Json, **kwargs: raw.Json) -> raw.Json:
        """Run; where the output cannot be written (a full disk), say so and exit 2. A closed pipe is click's to end."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            why = f"the output cannot be written ({error.strerror}): make room, or write it elsewhere"
            click.echo(f"grovekeeper: {why}", err=True)
            # What is still in the buffer would fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(2)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="grovekeeper")
def main() -> None:
    """Gangs of pods on Kubernetes, from Git."""
