"""Where the API server is and how to be let in: a kubeconfig or the pod's service account, by the official package."""

import os
import ssl
from pathlib import Path
from typing import Protocol

from grovekeeper.api import raw
from grovekeeper.kube import errors


class Credentials(Protocol):
    """Where the server is and how to be let in. Implemented below for the official package."""

    url: str
    ssl: ssl.SSLContext | bool

    async def headers(self) -> dict[str, str]:
        """Return the headers of authentication, refreshed where they age."""


class Configured:
    """A kubeconfig or the pod's service account, through kubernetes.aio (exec plugins and refresh included)."""

    def __init__(self, configuration: raw.Json) -> None:
        self._configuration = configuration
        self.url: str = configuration.host
        self.ssl: ssl.SSLContext | bool = _context(configuration)

    async def headers(self) -> dict[str, str]:
        """Return the authorization header, after the package's own refresh."""
        value = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if value and not value.startswith("Bearer "):
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
            _check_exists(kubeconfig)
            path = str(kubeconfig) if kubeconfig else None
            await settings.load_kube_config(config_file=path, client_configuration=configuration)
        return Configured(configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        # TypeError and AttributeError: the package reads whatever YAML it finds as if it were a kubeconfig.
        where = kubeconfig or "KUBECONFIG or ~/.kube/config"
        odd = isinstance(error, TypeError | AttributeError | UnicodeDecodeError)
        why = "it is not a kubeconfig" if odd else " ".join(str(error).split())
        raise errors.Unauthorized(f"no cluster: {where} cannot be used ({why}); give one with --kubeconfig") from error


def _check_exists(kubeconfig: Path | None) -> None:
    """Raise FileNotFoundError where there is no kubeconfig at all: the package prints about it and goes on."""
    listed = [str(kubeconfig)] if kubeconfig else os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
    if not any(Path(entry).expanduser().is_file() for entry in listed if entry):
        raise FileNotFoundError(f"there is no file {' or '.join(listed)}")


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
