"""Credentials that a program prints: the `exec` entry of a kubeconfig's user, as kubectl runs it.

The official package runs such programs too, but logs what goes wrong and carries on without credentials, and never
runs one a second time. Fields: client.authentication.k8s.io of Kubernetes.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from grovekeeper.api import raw

_EARLY = timedelta(seconds=10)
"""How long before a token ends the next one is asked for."""
_OPAQUE = re.compile(r"[A-Za-z0-9_+=-]{24,}")
"""What may be a secret, or a part of one, in what a program says of itself."""


class PluginError(Exception):
    """A program that gives no credentials. The text names the field, what was found, and the next step; no secrets."""


class Plugin:
    """One user's program, and the credentials that it gave last."""

    def __init__(self, kubeconfig: Path, user: str, entry: Mapping[str, raw.Json]) -> None:
        """`entry` is users[].user.exec of a kubeconfig, at whose folder a command that is a relative path begins."""
        self._path = f"{kubeconfig}: users[name={user}].user.exec"
        self._entry = entry
        self._folder = kubeconfig.parent
        self._status: raw.Object = {}
        self._end: datetime | None = None
        self._lock = asyncio.Lock()

    async def status(self) -> raw.Object:
        """Return the status of the ExecCredential, of a new one where the last has ended. Raises PluginError."""
        async with self._lock:
            if not self._status or (self._end is not None and datetime.now(UTC) + _EARLY >= self._end):
                self._status, self._end = self._read(await self._run())
            return self._status

    async def _run(self) -> bytes:
        entry = self._entry
        for key in ("command", "apiVersion"):
            if not isinstance(entry.get(key), str):
                raise PluginError(f"{self._path}.{key} is missing: it must be a text")
        command = entry["command"]
        program = str(self._folder / command) if os.sep in command else command
        info = {"apiVersion": entry["apiVersion"], "kind": "ExecCredential"}
        spec = {"spec": {"interactive": sys.stdin.isatty()}}
        given = {each["name"]: each["value"] for each in entry.get("env") or ()}
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *(entry.get("args") or ()),
                env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps({**info, **spec})},
                stdout=asyncio.subprocess.PIPE,
                # On a terminal it may say what it waits for, a login in the browser for one.
                stderr=None if sys.stderr.isatty() else asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise PluginError(self._cannot_run(error)) from error
        out, said = await process.communicate()
        if process.returncode:
            raise PluginError(self._failed(process.returncode, said or b""))
        return out

    def _cannot_run(self, error: OSError) -> str:
        command = self._entry["command"]
        why = "cannot be run" if isinstance(error, PermissionError) else "is not there"
        if os.sep not in command and shutil.which(command, os.F_OK) is None:
            # Also where the search ended with "permission denied", which one folder on the PATH is enough for.
            why = "is not on the PATH"
        hint = " ".join(str(self._entry.get("installHint") or "").split())
        step = f"install it ({hint})" if hint else "install it"
        return f'{self._path}.command is "{command}", which {why}: {step}, or name another command'

    def _failed(self, code: int, said: bytes) -> str:
        lines = said.decode(errors="replace").strip().splitlines()
        last = f', saying "{_OPAQUE.sub("***", lines[-1].strip())[:200]}"' if lines else ""
        step = "run it in a terminal to see why, and log in again"
        return f'{self._path}.command "{self._entry["command"]}" ended with code {code}{last}: {step}'

    def _read(self, out: bytes) -> tuple[raw.Object, datetime | None]:
        """Return the status that was printed, and when it ends. What was printed is never shown: it may be a token."""
        command = f'{self._path}.command "{self._entry["command"]}"'
        try:
            printed = json.loads(out)
        except ValueError:
            printed = None
        status = printed.get("status") if isinstance(printed, dict) else None
        if not isinstance(printed, dict) or not isinstance(status, dict):
            raise PluginError(f"{command} printed no ExecCredential with a status: see its manual, or update it")
        if printed.get("apiVersion") != self._entry["apiVersion"]:
            text = f"printed {printed.get('apiVersion')}, and {self._path}.apiVersion is {self._entry['apiVersion']}"
            raise PluginError(f"{command} {text}: set the field to what it prints, or update it")
        if not (status.get("token") or {"clientCertificateData", "clientKeyData"} <= status.keys()):
            raise PluginError(f"{command} gave neither a token nor a certificate with its key: log in again")
        try:
            end = status.get("expirationTimestamp")
            return status, None if end is None else datetime.fromisoformat(end).astimezone(UTC)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{command} printed an expirationTimestamp that is no time: update it") from error
