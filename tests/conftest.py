"""What tests of several rooms need."""

from collections.abc import Iterator

import hypothesis
import pytest

from grovekeeper.runtime.redis_server import EmbeddedRedis

hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A real redis-server; a test that starts on an empty one empties it."""
    with EmbeddedRedis() as running:
        yield running
