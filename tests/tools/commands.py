"""Commands that pages tell people to type: found in them, and held against the programs' own rules."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from grovekeeper.cli.main import main

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "grovekeeper"
_WORDS = ("grovekeeper ", "make ", "helm ")


def of_page(text: str) -> Iterator[str]:
    """Yield each command of a Markdown page that begins with one of our words, from blocks and from inline code."""
    outside = []
    for index, part in enumerate(re.split(r"^ *```.*$", text, flags=re.MULTILINE)):
        if index % 2:
            for line in part.splitlines():
                yield from _commands(line)
        else:
            outside.append(part)
    for span in re.findall(r"`([^`\n]+)`", "\n".join(outside)):
        yield from _commands(span)


def _commands(line: str) -> Iterator[str]:
    line = re.sub(r"\s#.*$", "", line.strip()).removeprefix("$ ")
    for part in re.split(r" \| | && | > \S+", line):
        if part.strip().startswith(_WORDS):
            yield part.strip()


def fault(command: str) -> str | None:
    """Return why a command cannot be typed, or None. `a|b` stands for either, square brackets for what may be left out.

    A verb alone is the name of the verb, not a command.
    """
    program, *words = shlex.split(re.sub(r"[\[\]]", "", command))
    words = [word for word in words if word != "..."]
    check = {"grovekeeper": _grovekeeper, "make": _make, "helm": _helm}[program]
    for choice in max((word.split("|") for word in words), key=len, default=[""]):
        found = check([choice if "|" in word else word for word in words])
        if found:
            return f"{command}: {found}"
    return None


def _grovekeeper(words: list[str]) -> str | None:
    try:
        group = click.Context(main, info_name="grovekeeper")
        _name, verb, rest = main.resolve_command(group, words)
        assert verb is not None
        if rest:
            verb.make_context(verb.name, rest, parent=group)
    except click.exceptions.Exit:
        return None  # --help
    except click.ClickException as error:
        return error.format_message()
    return None


def _make(words: list[str]) -> str | None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    for word in words:
        name, assigned, _ = word.partition("=")
        if (f"$({name})" not in text and f"$(if $({name})" not in text) if assigned else name not in targets:
            return f"the Makefile has no {'variable' if assigned else 'target'} {name}"
    return None


def _helm(words: list[str]) -> str | None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    charts = [word for word in words if "charts/" in word]
    if any((ROOT / chart).resolve() != CHART for chart in charts):
        return f"there is no chart {charts}"
    for option, text in itertools.pairwise(words):
        if option in ("--set", "--set-string", "--set-json"):
            known: Any = values
            for part in text.partition("=")[0].split("."):
                if not isinstance(known, dict) or (known and part not in known):
                    return f"the chart has no value {text.partition('=')[0]}"
                known = known.get(part, {})
    return None
