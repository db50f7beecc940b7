"""Where the API server is and how to be let in: a kubeconfig or the pod's service account, by the official package."""

import functools
import os
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from grovekeeper.api import raw, structural
from grovekeeper.kube import errors, execplugin
from grovekeeper.kube import kubeconfig as kubeconfigs

Renewal = Callable[[raw.Json], Awaitable[None]]
"""Puts a fresh token into the official package's configuration; called before each request."""


class Credentials(Protocol):
    """Where the server is and how to be let in. Implemented below for the official package."""

    url: str
    ssl: ssl.SSLContext | bool

    async def headers(self) -> dict[str, str]:
        """Return the headers of authentication, refreshed where they age."""


class Configured:
    """The pod's service account or a kubeconfig, through kubernetes.aio.

    What ages is renewed: the token of a service account, that of a kubeconfig's program (`execplugin`) or token file.
    """

    def __init__(self, configuration: raw.Json) -> None:
        self._configuration = configuration
        self.url: str = configuration.host
        self.ssl: ssl.SSLContext | bool = _context(configuration)

    async def headers(self) -> dict[str, str]:
        """Return the authorization header. Raises errors.Unauthorized where there is no new token."""
        try:
            value = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except (execplugin.PluginError, kubeconfigs.KubeconfigError) as error:
            raise errors.Unauthorized(str(error)) from error
        if value and not value.startswith(("Bearer ", "Basic ")):
            value = f"Bearer {value}"
        return {"Authorization": value} if value else {}


async def load(kubeconfig: Path | None = None) -> Credentials:
    """Return the credentials of a kubeconfig (KUBECONFIG and ~/.kube/config by default) or of the pod.

    Raises errors.Unauthorized with the next step where neither can be used.
    """
    from kubernetes.aio import client as official
    from kubernetes.aio import config

    settings: raw.Json = config
    configuration = official.Configuration()
    in_pod = kubeconfig is None and Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
    where = "the pod's service account" if in_pod else kubeconfig or "KUBECONFIG or ~/.kube/config"
    try:
        if in_pod:
            settings.load_incluster_config(client_configuration=configuration)
        else:
            await _read(configuration, _paths(kubeconfig))
        return Configured(configuration)
    except (execplugin.PluginError, kubeconfigs.KubeconfigError) as error:
        raise errors.Unauthorized(f"no cluster: {error}; or give another with --kubeconfig") from error
    except (config.ConfigException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # What Python says of a value has the value in it, which may be a secret.
        told = isinstance(error, OSError | config.ConfigException)
        said = (error.strerror or str(error)).lower() if isinstance(error, OSError) and error.filename else str(error)
        why = " ".join(said.split()) if told else f"odd fields: {type(error).__name__}"
        raise errors.Unauthorized(f"no cluster: {where} cannot be used ({why}); give one with --kubeconfig") from error


def _paths(kubeconfig: Path | None) -> list[Path]:
    """Return the kubeconfigs to read, those that are there. Raises FileNotFoundError where none is."""
    listed = [str(kubeconfig)] if kubeconfig else os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
    found = [path for entry in listed if entry and (path := Path(entry).expanduser()).exists()]
    if not found:
        raise FileNotFoundError(f"there is no file {' or '.join(listed)}")
    return found


async def _read(configuration: raw.Json, paths: list[Path]) -> None:
    """Set the configuration by kubeconfigs. Raises KubeconfigError, PluginError, and what the package meets in them."""
    from kubernetes.aio.config import kube_config

    official: raw.Json = kube_config
    chosen = kubeconfigs.read(paths)
    user, renewal = await _authenticated(chosen)
    url = kubeconfigs.server(chosen.cluster)
    cluster, fields = _plain(chosen.cluster, "certificate-authority"), dict(user.fields)
    if url.startswith("https"):
        authority, pair = kubeconfigs.authority(chosen.cluster), kubeconfigs.pair(user)
        fields = _plain(user, "client-certificate", "client-key")
        cluster |= _encoded({"certificate-authority-data": authority})
        fields |= _encoded(dict(zip(("client-certificate-data", "client-key-data"), pair or (), strict=False)))
    merged = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "c", "user": fields}],
    }
    await official.KubeConfigLoader(config_dict=merged).load_and_set(configuration)
    configuration.refresh_api_key_hook = renewal


async def _authenticated(chosen: kubeconfigs.Chosen) -> tuple[kubeconfigs.Entry, Renewal | None]:
    """Return the user's fields with what a program or a file of it gives, and what renews that."""
    user = chosen.user
    entry = user.fields.get("exec")
    if entry is not None:
        if not isinstance(entry, dict):
            raise user.fault("exec", f"must be a mapping, found {structural.word(entry)}: put the command below it")
        # For the package, what the program gives is what the kubeconfig says.
        plugin = execplugin.Plugin(user.file, chosen.user_name, entry)
        fields = {key: value for key, value in user.fields.items() if key != "exec"}
        given = {**fields, **_answered(await plugin.status())}
        return kubeconfigs.Entry(user.file, f"{user.place}exec: its ", given), functools.partial(_renew, plugin)
    token = kubeconfigs.token(user)
    plain = {key: value for key, value in user.fields.items() if key not in ("token", "tokenFile")}
    renewal = functools.partial(_reread, user) if user.fields.get("tokenFile") else None
    return kubeconfigs.Entry(user.file, user.place, {**plain, "token": token} if token else plain), renewal


def _plain(entry: kubeconfigs.Entry, *files: str) -> raw.Object:
    """Return the fields without those of certificates."""
    return {key: value for key, value in entry.fields.items() if key.removesuffix("-data") not in files}


def _encoded(pems: Mapping[str, bytes | None]) -> dict[str, str]:
    return {key: b64encode(pem).decode() for key, pem in pems.items() if pem}


async def _renew(plugin: execplugin.Plugin, configuration: raw.Json) -> None:
    """Take the program's next token where the last one has ended; a certificate stays until the process ends."""
    token = (await plugin.status()).get("token")
    if token:
        configuration.api_key["BearerToken"] = f"Bearer {token}"


async def _reread(user: kubeconfigs.Entry, configuration: raw.Json) -> None:
    """Take the token that the user's file has now."""
    configuration.api_key["BearerToken"] = f"Bearer {kubeconfigs.token(user)}"


def _answered(status: raw.Object) -> raw.Object:
    """Return what a program gave in the words of a kubeconfig."""
    files = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    given = {ours: b64encode(status[theirs].encode()).decode() for ours, theirs in files.items() if status.get(theirs)}
    return {"token": status["token"], **given} if status.get("token") else given


def _context(configuration: raw.Json) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
