"""Settings that cannot be used are named with the field and the next step."""

from pathlib import Path

import pytest

from grovekeeper.runtime import settings


@pytest.mark.parametrize(
    ("text", "environment", "word"),
    [
        pytest.param(None, {}, "does not exist: give the path", id="no file"),
        pytest.param("a: [", {}, ":2: not YAML", id="not YAML"),
        pytest.param("- 1", {}, "must be one mapping of settings, found a list", id="a list"),
        pytest.param("redis: x", {}, "redis: unknown setting; did you mean redis_url?", id="an unknown setting"),
        pytest.param("webhook: {x: 1}", {}, "webhook.x: unknown setting; known are bind, port", id="unknown in a part"),
        pytest.param("webhook: {port: a}", {}, "webhook.port: found 'a': Input should be a valid", id="no number"),
        pytest.param("redis_url: r//:secret@x", {}, "redis_url: must begin with redis://", id="a secret is not shown"),
        pytest.param(
            "",
            {"GROVEKEEPER_WEBHOOK__PORT": "abc"},
            "webhook.port: found 'abc': Input should be a valid integer",
            id="type",
        ),
        pytest.param("webhook: {port: 70000}", {}, "webhook.port: found 70000: Input should be less", id="no port"),
        pytest.param("reconcile: {resync_seconds: 0}", {}, "resync_seconds: found 0: Input should be", id="endless"),
        pytest.param("reconcile: {drain_patience_seconds: -1}", {}, "drain_patience_seconds: found -1: In", id="below"),
        pytest.param("reconcile: {reservation_seconds: .inf}", {}, "reservation_seconds: found inf: In", id="for ever"),
        pytest.param("redis_url: localhost:6379", {}, "redis_url: must begin with redis://", id="Redis"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path: Path, text: str | None, environment: dict[str, str], word: str) -> None:
    path = tmp_path / "settings.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(settings.SettingsError) as found:
        settings.load(path, environment)
    assert word in str(found.value)


def test_the_environment_comes_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("webhook: {port: 1}\nnamespace: a\n")
    loaded = settings.load(path, {"GROVEKEEPER_WEBHOOK__PORT": "2"})
    assert (loaded.webhook.port, loaded.namespace) == (2, "a")
