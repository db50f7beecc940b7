"""What a user reads when there is no cluster, and what the log never shows."""

from pathlib import Path

import pytest

from grovekeeper.kube import credentials, errors, http, resources
from grovekeeper.runtime import logs

REFUSED = """
apiVersion: v1
kind: Config
current-context: t
clusters: [{name: t, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: t, user: {token: x}}]
contexts: [{name: t, context: {cluster: t, user: t}}]
"""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param(None, "there is no file", id="missing"),
        pytest.param("a: [", "cannot be used", id="not YAML"),
        pytest.param("[]", "cannot be used", id="a list"),
        pytest.param("kind: Config", "cannot be used", id="nothing in it"),
        pytest.param(REFUSED.replace("current-context: t", "current-context: u"), "cannot be used", id="no context"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, word: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(path)
    assert word in str(caught.value)
    assert "--kubeconfig" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


async def test_a_server_that_does_not_answer_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(REFUSED)
    client = http.HttpClient(await credentials.load(tmp_path / "config"))
    try:
        with pytest.raises(errors.Unavailable) as caught:
            await client.list(resources.NODES)
    finally:
        await client.close()
    assert "no answer from https://127.0.0.1:1" in str(caught.value)
    assert "ConnectionKey" not in str(caught.value)


async def test_who_no_longer_holds_what_he_writes_under_reads_and_does_not_write(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(REFUSED)
    held = True
    client = http.HttpClient(await credentials.load(tmp_path / "config"), may_write=lambda: held)
    try:
        with pytest.raises(errors.Unavailable):
            await client.patch(resources.PODS, "p", "ns", {}, type="merge")
        held = False
        with pytest.raises(errors.Unavailable):
            await client.get(resources.PODS, "p", "ns")
        for write in (
            client.patch(resources.PODS, "p", "ns", {}, type="merge"),
            client.create(resources.PODS, {"metadata": {"name": "p", "namespace": "ns"}}),
            client.delete(resources.PODS, "p", "ns"),
            client.evict("p", "ns"),
        ):
            with pytest.raises(errors.Conflict, match="another process may hold the Lease"):
                await write
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@redis:6379/0", "redis://user:***@redis:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("password=hunter2, user=me", "password=***, user=me"),
        ("no answer from https://127.0.0.1:6443 (why)", "no answer from https://127.0.0.1:6443 (why)"),
    ],
)
def test_secrets_are_blotted_out_and_addresses_are_not(text: str, shown: str) -> None:
    assert logs.redacted(text) == shown
