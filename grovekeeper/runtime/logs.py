"""Structured logs: one JSON object (or one readable line) an event, with the object's key; never a secret."""

import json
import logging
import re
import sys
import warnings
from datetime import UTC, datetime

_SECRET = re.compile(r"(?i)(bearer\s+|password[=:]\s*|token[=:]\s*)([^\s@,;\"']+)|(://[^/\s:@]*:)([^/\s@]+)(?=@)")
_KNOWN = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


def redacted(text: str) -> str:
    """Return the text with bearer tokens, passwords and credentials in URLs blotted out."""
    return _SECRET.sub(lambda found: f"{found[1] or found[3]}***", text)


class _Structured(logging.Formatter):
    def __init__(self, *, as_json: bool, component: str) -> None:
        super().__init__()
        self._json = as_json
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        extra = {key: value for key, value in record.__dict__.items() if key not in _KNOWN}
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = redacted(text)
        if self._json:
            entry = {"time": when, "level": record.levelname.lower(), "component": self._component, "message": text}
            return json.dumps({**entry, **{key: redacted(str(value)) for key, value in extra.items()}})
        pairs = "".join(f" {key}={redacted(str(value))}" for key, value in extra.items())
        return f"{when} {record.levelname.lower():7} {self._component}: {text}{pairs}"


def setup(component: str, level: str = "info", style: str = "json") -> None:
    """Send all logs to standard error in one form. Noisy libraries speak only from warning up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Structured(as_json=style == "json", component=component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Celery warns of root because of pickle; our queue takes JSON only.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    for name in ("aiohttp.access", "celery", "kombu", "asyncio", "urllib3", "kubernetes"):
        logging.getLogger(name).setLevel(logging.WARNING)
