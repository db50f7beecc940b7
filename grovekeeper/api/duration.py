"""Durations as Go writes them: 4h0m0s, 90s, 1.5h, 250ms."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(text: str) -> float:
    """Return the duration in seconds; raise ValueError with what is allowed."""
    sign = -1.0 if text.startswith("-") else 1.0
    body = text.lstrip("+-")
    parts = _PART.findall(body)
    if body == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f'"{text}" is not a duration: write it as Go does, such as 30s, 5m or 4h0m0s')
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
