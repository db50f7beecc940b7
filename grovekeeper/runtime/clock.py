"""The clock that decisions are given. Tests move it through a file, so that no test waits for a delay to pass."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path


class Clock:
    """Wall-clock time, plus an offset in seconds read from a file where one is configured."""

    def __init__(self, offset_file: Path | None = None) -> None:
        self._file = offset_file
        self._changed = -1
        self._offset = 0.0

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._read())

    def stamp(self) -> str:
        """Return the time as Kubernetes writes it: RFC 3339, whole seconds, Z."""
        return rfc3339(self.now())

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean something."""
        return time.monotonic()

    def _read(self) -> float:
        if self._file is None:
            return 0.0
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._changed:
                self._offset = float(self._file.read_text() or 0)
                self._changed = changed
        except FileNotFoundError:
            self._offset = 0.0
        return self._offset


def rfc3339(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Return the time that an RFC 3339 text means."""
    return datetime.fromisoformat(text)
