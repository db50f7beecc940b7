"""Where the API server is and how to be let in: a kubeconfig or the pod's service account, by the official package."""

import functools
import os
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Protocol

from grovekeeper.api import raw
from grovekeeper.kube import errors, execplugin


class Credentials(Protocol):
    """Where the server is and how to be let in. Implemented below for the official package."""

    url: str
    ssl: ssl.SSLContext | bool

    async def headers(self) -> dict[str, str]:
        """Return the headers of authentication, refreshed where they age."""


class Configured:
    """The pod's service account or a kubeconfig, through kubernetes.aio.

    What ages is renewed: the token of a service account, and that of a kubeconfig's program (`execplugin`).
    """

    def __init__(self, configuration: raw.Json) -> None:
        self._configuration = configuration
        self.url: str = configuration.host
        self.ssl: ssl.SSLContext | bool = _context(configuration)

    async def headers(self) -> dict[str, str]:
        """Return the authorization header. Raises errors.Unauthorized where there is no new token."""
        try:
            value = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except execplugin.PluginError as error:
            raise errors.Unauthorized(str(error)) from error
        if value and not value.startswith(("Bearer ", "Basic ")):
            value = f"Bearer {value}"
        return {"Authorization": value} if value else {}


async def load(kubeconfig: Path | None = None) -> Credentials:
    """Return the credentials of a kubeconfig (KUBECONFIG and ~/.kube/config by default) or of the pod.

    Raises errors.Unauthorized with the next step where neither can be used.
    """
    import yaml
    from kubernetes.aio import client as official
    from kubernetes.aio import config

    settings: raw.Json = config
    configuration = official.Configuration()
    try:
        if kubeconfig is None and Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists():
            settings.load_incluster_config(client_configuration=configuration)
        else:
            await _read(configuration, _paths(kubeconfig))
        return Configured(configuration)
    except execplugin.PluginError as error:
        raise errors.Unauthorized(f"no cluster: {error}") from error
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        # TypeError and AttributeError: the package reads whatever YAML it finds as if it were a kubeconfig.
        where = kubeconfig or "KUBECONFIG or ~/.kube/config"
        odd = isinstance(error, TypeError | AttributeError | UnicodeDecodeError)
        why = "it is not a kubeconfig" if odd else " ".join(str(error).split())
        raise errors.Unauthorized(f"no cluster: {where} cannot be used ({why}); give one with --kubeconfig") from error


def _paths(kubeconfig: Path | None) -> str:
    """Return the kubeconfigs to read. Raises FileNotFoundError where there is none: the package goes on without."""
    listed = [str(kubeconfig)] if kubeconfig else os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
    if not any(Path(entry).expanduser().is_file() for entry in listed if entry):
        raise FileNotFoundError(f"there is no file {' or '.join(listed)}")
    return os.pathsep.join(listed)


async def _read(configuration: raw.Json, paths: str) -> None:
    """Set the configuration by kubeconfigs. Raises PluginError, and whatever the package meets in them."""
    from kubernetes.aio.config import kube_config

    official: raw.Json = kube_config
    merged = official.KubeConfigMerger(paths).config
    context = merged["contexts"].get_with_name(merged["current-context"])["context"]
    name = context.safe_get("user")
    user = name and merged["users"].get_with_name(name, safe=True)
    if name and not user:
        raise ValueError(f"context {merged['current-context']} names user {name}, which it does not have")
    plugin = _plugin(user) if user else None
    if plugin is not None:
        # For the package, what the program gives is what the kubeconfig says.
        entry = {key: value for key, value in user.value["user"].items() if key != "exec"}
        user.value["user"] = {**entry, **_answered(await plugin.status())}
    await official.KubeConfigLoader(config_dict=merged, config_base_path=None).load_and_set(configuration)
    if plugin is not None:
        configuration.refresh_api_key_hook = functools.partial(_renew, plugin)


def _plugin(user: raw.Json) -> execplugin.Plugin | None:
    """Return the program of one of the users of a kubeconfig, or None where it has none."""
    entry = user.value["user"].get("exec")
    return None if entry is None else execplugin.Plugin(Path(user.path).absolute(), user.value["name"], entry)


async def _renew(plugin: execplugin.Plugin, configuration: raw.Json) -> None:
    """Take the program's next token where the last one has ended; a certificate stays until the process ends."""
    token = (await plugin.status()).get("token")
    if token:
        configuration.api_key["BearerToken"] = f"Bearer {token}"


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
