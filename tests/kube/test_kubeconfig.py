"""Kubeconfigs with a field that is of no use: file, entry, field, what was found and what to do, and never a secret."""

import base64
import json
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from grovekeeper.kube import credentials, errors
from grovekeeper.runtime import certificates

SECRET = "aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8x"


def kubeconfig(
    folder: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: object
) -> Path:
    found = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1", **(cluster or {})}}],
        "users": [{"name": "ops", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "ops"}}],
    } | top
    path = folder / "config"
    path.write_text(json.dumps(found))
    return path


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


async def refused(path: Path) -> str:
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(path)
    text = str(caught.value)
    assert text.startswith(f"no cluster: {path}: "), text
    assert text.endswith("; or give another with --kubeconfig")
    for word in (SECRET, "\n", "Errno", "_ssl", "Error", "padding"):
        assert word not in text
    return text


CA = "clusters[name=k].cluster.certificate-authority"
CERTIFICATE = "users[name=ops].user.client-certificate"
KEY = "users[name=ops].user.client-key"
TOKEN = "users[name=ops].user.token"
BROKEN = f"-----BEGIN CERTIFICATE-----\n{SECRET}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"cluster": {"certificate-authority-data": f"{SECRET}!"}}, f"{CA}-data is not base64 (37 characters): get"),
        ({"cluster": {"certificate-authority-data": SECRET}}, f"{CA}-data is base64, but not of PEM (27 bytes"),
        ({"cluster": {"certificate-authority-data": 5}}, f"{CA}-data must be base64 of PEM, found an integer"),
        ({"cluster": {"certificate-authority-data": encoded(BROKEN)}}, f"{CA}-data is PEM with something in it that"),
        ({"cluster": {"certificate-authority": "ca.pem"}}, f'{CA} names "ca.pem", which is not there: log in again'),
        ({"cluster": {"certificate-authority": "folder"}}, f'{CA} names "folder", which cannot be read (is a dir'),
        ({"cluster": {"certificate-authority": "none"}}, f'{CA} names "none", which is not there'),
        ({"cluster": {"certificate-authority": "text"}}, f'{CA} names "text", which is not PEM (no -----BEGIN CERT'),
        ({"cluster": {"certificate-authority": BROKEN}}, f"{CA} names a file with a name of {len(BROKEN)} char"),
        ({"cluster": {"server": "127.0.0.1:1"}}, "clusters[name=k].cluster.server must be a URL, and does not begin"),
        ({"cluster": {"server": None}}, "cluster.server must be the URL of the API server, found nothing"),
        ({"user": {"client-certificate-data": "a", "client-key-data": "b"}}, f"{CERTIFICATE}-data is not base64 (1"),
        ({"user": {"client-certificate-data": SECRET}}, f"{CERTIFICATE}-data is base64, but not of PEM"),
        ({"user": {"client-key-data": SECRET}}, f"{KEY}-data is base64, but not of PEM (27 bytes without -----BEGIN"),
        ({"user": {"client-certificate": "a/b.crt"}}, f'{CERTIFICATE} names "a/b.crt", which is not there'),
        ({"user": {"client-certificate-data": encoded(BROKEN)}}, f"{KEY} is missing, and client-certificate-data is"),
        ({"user": {"tokenFile": "none"}}, f'{TOKEN}File names "none", which is not there: log in again'),
        ({"user": {"tokenFile": "folder"}}, f'{TOKEN}File names "folder", which cannot be read (is a directory)'),
        ({"user": {"tokenFile": "empty"}}, f'{TOKEN}File names "empty", which is empty: log in again'),
        ({"user": {"tokenFile": "text"}}, f"{TOKEN}File names a file whose text has blanks"),
        ({"user": {"tokenFile": SECRET}}, f"{TOKEN}File names a file with a name of 36 characters, which is not there"),
        ({"user": {"token": 5}}, f"{TOKEN} must be a text, found an integer: put it in quotation marks"),
        ({"user": {"token": f"{SECRET}\n"}}, f"{TOKEN} has blanks, line breaks or odd characters, as no token has"),
        ({"user": {"exec": [SECRET]}}, "users[name=ops].user.exec must be a mapping, found a list"),
        ({"users": [{"name": "ops", "user": SECRET}]}, "users[name=ops].user must be a mapping, found a text"),
        ({"users": [{"user": {"token": SECRET}}]}, "users[0].name must be a text, found nothing: name the user"),
        ({"users": {}}, 'contexts[name=c].context.user is "ops", and there is no such user: name another (it has none'),
        ({"users": {"ops": SECRET}}, "users must be a list, found a mapping"),
        ({"clusters": []}, 'contexts[name=c].context.cluster is "k", and there is no such cluster'),
        ({"current-context": "d"}, 'current-context is "d", and there is no such context: name another (known: c)'),
        ({"current-context": ""}, "current-context is missing: name a context (known: c)"),
        ({"contexts": [{"name": "c"}]}, "contexts[name=c].context.cluster is missing: name a cluster (known: k)"),
    ],
    ids=str,
)
async def test_a_field_that_is_of_no_use_is_named_without_what_is_in_it(
    tmp_path: Path, given: dict[str, Any], want: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "text").write_text(f"{SECRET} and more")
    assert want in await refused(kubeconfig(tmp_path, **given))


@pytest.mark.parametrize(
    ("text", "want"), [(f"users: [{SECRET}\n", "is not YAML (line 2)"), (f"- {SECRET}", "is a list"), ("\0", "is not")]
)
async def test_what_is_no_kubeconfig_is_not_shown(tmp_path: Path, text: str, want: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(path)
    assert want in str(caught.value)
    assert SECRET not in str(caught.value)


NOW = datetime.now(UTC)
STATE = certificates.fresh(["localhost"], NOW)
OTHER = certificates.leaf(STATE.authority, ["localhost"], NOW)


def encrypted(key: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    how = serialization.BestAvailableEncryption(b"x")
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


@pytest.mark.parametrize(
    ("key", "want"),
    [
        pytest.param(encrypted(STATE.leaf.key), f"{KEY}-data is encrypted: put in the key without", id="encrypted"),
        pytest.param(OTHER.key, f"{KEY}-data is not the key of the certificate in client-certificate-data", id="other"),
        pytest.param(STATE.leaf.key[:80], f"{KEY}-data is PEM with something in it that is no key", id="cut off"),
        pytest.param(STATE.leaf.certificate, f"{KEY}-data is base64, but not of PEM", id="a certificate"),
    ],
)
async def test_a_key_that_does_not_fit_is_named(tmp_path: Path, key: bytes, want: str) -> None:
    user = {"client-certificate-data": encoded(STATE.leaf.certificate), "client-key-data": encoded(key)}
    text = await refused(kubeconfig(tmp_path, user=user))
    assert want in text
    assert encoded(key)[:40] not in text


async def test_good_certificates_are_used_from_data_and_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "leaf.pem").write_bytes(STATE.leaf.certificate)
    (tmp_path / "leaf.key").write_bytes(STATE.leaf.key)
    by_file = {"client-certificate": "leaf.pem", "client-key": str(tmp_path / "leaf.key")}
    by_data = {"client-certificate-data": encoded(STATE.leaf.certificate), "client-key-data": encoded(STATE.leaf.key)}
    for user in (by_file, by_data):
        cluster = {"certificate-authority-data": encoded(certificates.bundle(STATE))}
        found = await credentials.load(kubeconfig(tmp_path, cluster, user))
        assert isinstance(found.ssl, ssl.SSLContext)
        (authority,) = found.ssl.get_ca_certs(binary_form=True)
        assert authority == ssl.PEM_cert_to_DER_cert(STATE.authority.certificate.decode())


async def test_a_token_file_is_read_anew_and_before_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    given = await credentials.load(kubeconfig(tmp_path, user={"tokenFile": "token", "token": "old"}))
    assert await given.headers() == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert await given.headers() == {"Authorization": "Bearer second"}
    (tmp_path / "token").unlink()
    with pytest.raises(errors.Unauthorized, match='tokenFile names "token", which is not there: log in again'):
        await given.headers()


async def test_of_two_kubeconfigs_the_first_one_that_has_an_entry_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    first = {"current-context": "c", "users": [{"name": "ops", "user": {"tokenFile": "token"}}]}
    (tmp_path / "a" / "config").write_text(json.dumps(first))
    (tmp_path / "a" / "token").write_text("mine")
    second = kubeconfig(tmp_path, user={"token": "theirs"}, **{"current-context": "d"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{tmp_path}/a/config:{second}")
    given = await credentials.load()
    assert (given.url, await given.headers()) == ("https://127.0.0.1:1", {"Authorization": "Bearer mine"})


async def test_a_kubeconfig_may_come_through_a_pipe_and_is_no_folder(tmp_path: Path) -> None:
    text = kubeconfig(tmp_path, user={"token": "t"}).read_bytes()
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    try:
        given = await credentials.load(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
    assert await given.headers() == {"Authorization": "Bearer t"}
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(tmp_path)
    assert f"{tmp_path} cannot be used (is a directory); give one with --kubeconfig" in str(caught.value)


async def test_a_user_without_anything_is_nobody(tmp_path: Path) -> None:
    for top in ({"users": [{"name": "ops", "user": None}]}, {"contexts": [{"name": "c", "context": {"cluster": "k"}}]}):
        assert await (await credentials.load(kubeconfig(tmp_path, **top))).headers() == {}


async def test_a_password_is_sent(tmp_path: Path) -> None:
    given = await credentials.load(kubeconfig(tmp_path, user={"username": "a", "password": "b"}))
    assert await given.headers() == {"Authorization": "Basic YTpi"}
