"""CEL expressions, without the shell that the `cel` package brings along."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import cache

from grovekeeper.api import raw


def evaluate(expression: str, context: Mapping[str, raw.Json]) -> raw.Json:
    """Return the value of an expression; raises what `cel.evaluate` raises for one that fails."""
    return _extension()(expression, context)


@cache
def _extension() -> Callable[[str, Mapping[str, raw.Json]], raw.Json]:
    """Return the Rust extension's function.

    `import cel` runs an __init__ that loads a prompt with highlighting: over a second, 25 ms without it.
    """
    spec = importlib.util.find_spec("cel")
    if spec is None:
        raise ImportError("the package common-expression-language is missing: install requirements.lock")
    if "cel" not in sys.modules:
        package = importlib.util.module_from_spec(spec)
        sys.modules["cel"] = package
        extension = importlib.import_module("cel.cel")
        vars(package).update((name, value) for name, value in vars(extension).items() if name[0] != "_")
    found: Callable[[str, Mapping[str, raw.Json]], raw.Json] = sys.modules["cel"].evaluate
    return found
