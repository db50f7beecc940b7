"""Settings of all components: a YAML file, environment variables over it, flags over those."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from grovekeeper.api import kubeyaml, names, structural

PREFIX = "GROVEKEEPER_"


class SettingsError(Exception):
    """Settings that cannot be used; the text names the field, what was found and what is allowed."""


def _redis_scheme(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://, for example redis://redis.example:6379/0")
    return url


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Webhook(_Part):
    """The admission server."""

    bind: str = "0.0.0.0"  # noqa: S104 - a pod's server listens on the pod's address
    port: Port = 9443
    cert_mode: Literal["auto", "files"] = "auto"
    cert_dir: Path = Path("/etc/grovekeeper/webhook-certs")
    service_name: str = "grovekeeper-webhook"
    secret_name: str = "grovekeeper-webhook-cert"  # noqa: S105 - a name
    configuration_name: str = "grovekeeper"
    shutdown_delay: Seconds = 10.0
    """How long to go on answering after SIGTERM: that we are gone reaches API servers late."""
    url: str | None = None
    """Where the API server reaches us if not through the Service: a host outside the cluster (tests, demo)."""


class Reconcile(_Part):
    """Dispatcher and workers."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    batch: Annotated[int, Field(ge=1, le=512)] = 64
    resync_seconds: Annotated[Seconds, Field(ge=1)] = 600.0
    bind_timeout_seconds: Seconds = 30.0
    hold: Literal["always", "contended", "never"] = "contended"
    reserve_after_seconds: Seconds = 120.0
    """A gang that has waited this long gets a domain kept for it: gangs behind it are placed elsewhere."""
    reserve_window_seconds: Annotated[Seconds, Field(ge=1)] = 3600.0
    """A domain in which nothing has ended for so long is kept no longer, and again after as long a pause."""
    reservation_seconds: Seconds = 300.0
    """For how long a node is held for the successor of a pod that is gone, while it cannot be placed."""
    disruption_budgets: bool = True
    """A PodDisruptionBudget for each PodClique; a set's annotation grovekeeper.io/disruption-budget overrides it."""
    drain_patience_seconds: Seconds | None = 3600.0
    """For how long our budgets hold up the drain of a cordoned node; None: for ever."""
    stuck_terminating_seconds: Seconds | None = None
    """Force-delete pods that are still terminating on a lost node after this long; None: never."""


class Schedulers(_Part):
    """Back ends that sets may choose by schedulerName (docs/decisions/0013-hand-over.md)."""

    profiles: list[str] = Field(default_factory=lambda: [names.SCHEDULER_STOCK])
    """The stock scheduler with our own placement is always among them."""
    default: str = names.SCHEDULER_STOCK
    """The back end of sets whose cliques name none; filled in when a set is created."""

    @field_validator("profiles", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        # An environment variable is one text.
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> "Schedulers":
        unknown = [name for name in self.profiles if name not in names.SCHEDULERS]
        if unknown:
            raise ValueError(f"profiles: {', '.join(unknown)} unknown; known are {', '.join(names.SCHEDULERS)}")
        if names.SCHEDULER_STOCK not in self.profiles:
            self.profiles = [names.SCHEDULER_STOCK, *self.profiles]
        if self.default not in self.profiles:
            raise ValueError(f"default: {self.default} is not among the profiles {', '.join(self.profiles)}")
        return self


class Settings(_Part):
    """Everything. `namespace` is our own."""

    namespace: str = "grovekeeper-system"
    init_image: str = "grovekeeper:latest"
    redis_url: Annotated[str, AfterValidator(_redis_scheme)] = "redis://127.0.0.1:6379/0"
    redis_password_file: Path | None = None
    metrics_bind: str = "0.0.0.0"  # noqa: S104 - scraped from other pods
    metrics_port: Port = 9445
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    clock_offset_file: Path | None = None
    protection: bool = True
    """Refuse changes to managed children by anybody but us and the exempt."""
    exempt_users: list[str] = Field(default_factory=list)
    service_account: str = "grovekeeper"
    auto_mnnvl: bool = False
    """Make ComputeDomains of NVIDIA's DRA driver for sets that ask for multi-node NVLink; refuse them otherwise."""
    webhook: Webhook = Field(default_factory=Webhook)
    reconcile: Reconcile = Field(default_factory=Reconcile)
    schedulers: Schedulers = Field(default_factory=Schedulers)


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a file (or the defaults); raise SettingsError with a sentence for each fault.

    GROVEKEEPER_REDIS_URL sets redis_url, GROVEKEEPER_WEBHOOK__PORT sets webhook.port.
    """
    values = _read(path) if path else {}
    for key, text in (os.environ if environment is None else environment).items():
        if key.startswith(PREFIX):
            _assign(values, key.removeprefix(PREFIX).lower().split("__"), text)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_sentence(fault) for fault in error.errors())
        raise SettingsError(f"{path or 'environment'}: {faults}") from error


def _sentence(fault: ErrorDetails) -> str:
    """Return the setting, what was found and what is allowed. A URL may hold a password, so it is not shown."""
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        found = "" if where == "redis_url" else f"found {fault['input']!r}: "
        return f"{where}: {found}{fault['msg'].removeprefix('Value error, ')}"
    known = Settings.model_fields
    for name in fault["loc"][:-1]:
        known = getattr(known[str(name)].annotation, "model_fields", {})
    close = difflib.get_close_matches(str(fault["loc"][-1]), known, 1)
    return f"{where}: unknown setting; " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}")


def redis_url(settings: Settings) -> str:
    """Return the URL with the password of the password file in it; never to be logged."""
    if settings.redis_password_file is None:
        return settings.redis_url
    password = settings.redis_password_file.read_text().strip()
    scheme, _, rest = settings.redis_url.partition("://")
    return f"{scheme}://:{password}@{rest.rpartition('@')[2]}"


def _read(path: Path) -> dict[str, object]:
    try:
        found, faults = kubeyaml.documents(path.read_text(encoding="utf-8"), nulls=True)
    except FileNotFoundError as error:
        raise SettingsError(f"{path} does not exist: give the path of a settings file with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): check the file and its rights") from error
    if faults:
        raise SettingsError(f"{path}:{faults[0].place[0]}: {faults[0].message}")
    loaded = found[0].value if found else {}
    if not isinstance(loaded, dict) or len(found) > 1:
        text = f"{len(found)} documents" if len(found) > 1 else structural.word(loaded)
        raise SettingsError(f"{path} must be one mapping of settings, found {text}")
    return loaded


def _assign(values: dict[str, object], parts: list[str], text: str) -> None:
    node = values
    for part in parts[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise SettingsError(f"{part} is both a value and a section")
        node = child
    node[parts[-1]] = text
