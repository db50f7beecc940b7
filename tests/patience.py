"""How long tests wait: the seconds of a scenario are those of a usual machine, and machines differ and are shared."""

import time

_LOOPS = 1_000_000
_USUAL_SECONDS = 0.015
"""What the loop takes on the machine that the seconds were chosen on."""
_SHARED = 2.0
"""Several clusters run side by side on few cores."""


def slowness() -> float:
    """Return by how much to multiply seconds in which something must not happen: what does not pass at once costs all
    of them, so that they are no longer than the machine needs.
    """
    return max(1.0, min(_loop() for _ in range(3)) / _USUAL_SECONDS)


def factor() -> float:
    """Return by how much to multiply seconds of waiting. A test that passes takes no longer for it."""
    return _SHARED * slowness()


def _loop() -> float:
    begin = time.process_time()
    for _ in range(_LOOPS):
        pass
    return time.process_time() - begin
