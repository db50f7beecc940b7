"""Kubeconfigs whose user has a program that gives the credentials, and what is said where it gives none."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from grovekeeper.kube import credentials, errors

API = "client.authentication.k8s.io/v1"
TOKEN = "k8s-aws-v1.aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8"


def kubeconfig(folder: Path, command: str | None, **entry: object) -> Path:
    plugin = {"apiVersion": API, "command": command, **entry}
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "ops", "user": {"exec": plugin}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "ops"}}],
    }
    path = folder / "config"
    path.write_text(json.dumps(found))
    return path


def program(folder: Path, text: str) -> str:
    path = folder / "login"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def credential(version: str = API, **status: str) -> str:
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})


async def refused(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(path)
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "nothing is said but by the error"
    text = str(caught.value)
    assert f"no cluster: {path}: users[name=ops].user.exec" in text
    assert TOKEN not in text
    assert "\n" not in text
    return text


async def test_the_token_of_a_program_is_sent(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, program(tmp_path, f"echo '{credential(token=TOKEN)}'"))
    given = await credentials.load(path)
    assert await given.headers() == {"Authorization": f"Bearer {TOKEN}"}


async def test_a_program_is_told_what_its_entry_says_and_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    told = f"""[ "$1$MORE" = ab ] && echo "$KUBERNETES_EXEC_INFO" | grep -q '"{API}"'"""
    program(tmp_path, f"{told} && echo '{credential(token='t')}'")
    path = kubeconfig(tmp_path, "./login", args=["a"], env=[{"name": "MORE", "value": "b"}])
    assert await (await credentials.load(path)).headers() == {"Authorization": "Bearer t"}


@pytest.mark.parametrize(("minutes", "want"), [pytest.param(-1, "2", id="ended"), pytest.param(9, "1", id="good")])
async def test_a_token_that_has_ended_is_asked_for_again(tmp_path: Path, minutes: int, want: str) -> None:
    end = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = credential(token="NUMBER", expirationTimestamp=end)
    count = f"echo x >> {tmp_path}/runs; n=$(wc -l < {tmp_path}/runs); echo '{answer}' | sed s/NUMBER/$n/"
    given = await credentials.load(kubeconfig(tmp_path, program(tmp_path, count)))
    assert await given.headers() == {"Authorization": f"Bearer {want}"}


async def test_a_program_that_is_not_installed_is_named_with_how_to_install_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = await refused(kubeconfig(tmp_path, "no-such-login", installHint="see\n example.com", args=[TOKEN]), capfd)
    assert '.command is "no-such-login", which is not on the PATH: install it (see example.com), or name' in text


async def test_a_program_that_may_not_be_run_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "login").write_text("")
    assert 'login", which cannot be run' in await refused(kubeconfig(tmp_path, str(tmp_path / "login")), capfd)
    assert 'none", which is not there' in await refused(kubeconfig(tmp_path, str(tmp_path / "none")), capfd)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            f"echo 'a'; echo 'expired: {TOKEN}' >&2; exit 3", 'ended with code 3, saying "expired: ', id="exit"
        ),
        pytest.param("exit 1", "ended with code 1: run it in a terminal", id="silent"),
        pytest.param(f"echo 'Welcome {TOKEN}'", "printed no ExecCredential with a status", id="not JSON"),
        pytest.param(f"echo '[\"{TOKEN}\"]'", "printed no ExecCredential", id="a list"),
        pytest.param(f"echo '{credential()}'", "gave neither a token nor a certificate", id="empty"),
        pytest.param(f"echo '{credential('client.authentication.k8s.io/v1beta1', token=TOKEN)}'", "/v1beta1", id="old"),
        pytest.param(f"echo '{credential(token=TOKEN, expirationTimestamp='soon')}'", "that is no time", id="no time"),
    ],
)
async def test_a_program_that_fails_is_named_with_the_next_step_and_without_its_secrets(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, want: str
) -> None:
    assert want in await refused(kubeconfig(tmp_path, program(tmp_path, text)), capfd)


async def test_an_entry_without_a_command_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ".command is missing" in await refused(kubeconfig(tmp_path, None), capfd)


async def test_a_certificate_of_a_program_is_read(tmp_path: Path) -> None:
    # The server is plain HTTP here, so that nobody looks into the certificate.
    answer = credential(clientCertificateData="c", clientKeyData="k")
    given = await credentials.load(kubeconfig(tmp_path, program(tmp_path, f"echo '{answer}'")))
    assert await given.headers() == {}


async def test_a_program_that_fails_later_says_so(tmp_path: Path) -> None:
    answer = credential(token=TOKEN, expirationTimestamp="2020-01-01T00:00:00Z")
    once = f"[ -e {tmp_path}/ran ] && exit 1; touch {tmp_path}/ran; echo '{answer}'"
    given = await credentials.load(kubeconfig(tmp_path, program(tmp_path, once)))
    with pytest.raises(errors.Unauthorized, match="ended with code 1"):
        await given.headers()


def test_who_is_not_let_in_is_told_what_to_renew() -> None:
    said = str(errors.from_response("GET pods", 401, b'{"message": "Unauthorized"}'))
    assert said == "GET pods: 401 Unauthorized: the credentials are not accepted, renew those of the kubeconfig"
