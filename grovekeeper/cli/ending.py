"""How a verb ends that cannot do what it was asked: a sentence on standard error, and exit code 2.

In one place for all verbs (`said`), so that none forgets an error that the cluster may answer with.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from grovekeeper.kube import errors


class UnusableError(Exception):
    """A file or an option that cannot be used; the text says which, and what to do."""


@contextmanager
def said(ctx: click.Context) -> Iterator[None]:
    """End with 2 on UnusableError and on whatever a cluster refuses; `ctx` knows the verb."""
    try:
        yield
    except (UnusableError, errors.KubeError) as error:
        click.echo(f"grovekeeper {ctx.invoked_subcommand}: {error}", err=True)
        sys.exit(2)
