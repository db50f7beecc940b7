"""What a kubeconfig says, field by field: which cluster, which user, and a sentence for each field that is of no use.

The official package takes from it what this module has found good. What it meets itself it says in the words of Python
and OpenSSL, or with the whole entry in its text, secrets and all.
"""

import base64
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from grovekeeper.api import raw, structural

_SENDABLE = re.compile(r"[\x21-\x7e]+")
"""A token that fits into a header."""
_PATH = re.compile(r"[^\s/]{0,80}(/[^\s/]{0,80})+|[^\s/]{1,40}\.[A-Za-z]{2,5}|[A-Za-z_-]{1,16}")
"""What is surely the name of a file, and no secret that stands in the wrong field."""
_AGAIN = "get the kubeconfig anew from who gave it"


class KubeconfigError(Exception):
    """A field that cannot be used. The text names file, entry and field, what was found, the next step; no secrets."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The fields of one entry, the file that has it, and the words for its place there."""

    file: Path
    place: str
    """What comes before a field's name, such as `users[name=ops].user.`."""
    fields: Mapping[str, raw.Json]

    def fault(self, field: str, text: str) -> KubeconfigError:
        """Return the error of one field."""
        return KubeconfigError(f"{self.file}: {self.place}{field} {text}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the current context names."""

    cluster: Entry
    user: Entry
    user_name: str


def read(paths: Iterable[Path]) -> Chosen:
    """Return the cluster and the user of the current context. Of entries of one name, the first file's counts.

    `paths` are one or more. Raises KubeconfigError, and OSError where one cannot be read.
    """
    files = {path.absolute(): _parsed(path) for path in paths}
    named = [content["current-context"] for content in files.values() if content.get("current-context")]
    whole = Entry(next(iter(files)), "", {"current-context": named[0] if named else None})
    context = _named(whole, "current-context", "context", _entries(files, "contexts", "context"))
    cluster = _named(context, "cluster", "cluster", _entries(files, "clusters", "cluster"))
    if not context.fields.get("user"):
        return Chosen(cluster, Entry(context.file, "", {}), "")
    user = _named(context, "user", "user", _entries(files, "users", "user"))
    return Chosen(cluster, user, context.fields["user"])


def _parsed(path: Path) -> raw.Object:
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.MarkedYAMLError as error:
        # Its text shows what is around the place.
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise KubeconfigError(f"{path} is not YAML{where}: {_AGAIN}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise KubeconfigError(f"{path} is not a kubeconfig: name another") from error
    if not isinstance(content, dict):
        text = f"a kubeconfig is a mapping, and this is {structural.word(content)}"
        raise KubeconfigError(f"{path} is not a kubeconfig ({text}): name another")
    return content


def _entries(files: Mapping[Path, raw.Object], several: str, one: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for file, content in files.items():
        listed = content.get(several) or []
        if not isinstance(listed, list):
            raise KubeconfigError(f"{file}: {several} must be a list, found {structural.word(listed)}: {_AGAIN}")
        for index, entry in enumerate(listed):
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                text = f"{several}[{index}].name must be a text, found {structural.word(name)}"
                raise KubeconfigError(f"{file}: {text}: name the {one}")
            fields = entry.get(one)
            place = f"{several}[name={name}].{one}"
            if not isinstance(fields, dict | None):
                text = f"{place} must be a mapping, found {structural.word(fields)}"
                raise KubeconfigError(f"{file}: {text}: put its fields below {one}")
            found.setdefault(name, Entry(file, f"{place}.", fields or {}))
    return found


def _named(entry: Entry, field: str, kind: str, known: Mapping[str, Entry]) -> Entry:
    """Return the entry that a field names."""
    name = entry.fields.get(field)
    there = f"known: {', '.join(sorted(known))}" if known else f"it has none at all, {_AGAIN}"
    if not isinstance(name, str) or not name:
        raise entry.fault(field, f"is missing: name a {kind} ({there})")
    if name not in known:
        raise entry.fault(field, f'is "{name}", and there is no such {kind}: name another ({there})')
    return known[name]


def server(cluster: Entry) -> str:
    """Return the URL of the API server. Raises KubeconfigError."""
    value = cluster.fields.get("server")
    if not isinstance(value, str):
        raise cluster.fault("server", f"must be the URL of the API server, found {structural.word(value)}: {_AGAIN}")
    if not value.startswith(("https://", "http://")):
        raise cluster.fault("server", "must be a URL, and does not begin with https://: write that before it")
    return value


def authority(cluster: Entry) -> bytes | None:
    """Return the PEM certificates that sign the server's, or None where the machine's do. Raises KubeconfigError."""
    field, pem = _pem(cluster, "certificate-authority", "CERTIFICATE")
    if pem is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError) as error:
        raise cluster.fault(field, f"is PEM with something in it that is no certificate: {_AGAIN}") from error
    return pem


def pair(user: Entry) -> tuple[bytes, bytes] | None:
    """Return the user's certificate and key as PEM, or None where there is none. Raises KubeconfigError."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    field, certificate = _pem(user, "client-certificate", "CERTIFICATE")
    key_field, key = _pem(user, "client-key", "PRIVATE KEY")
    if certificate is None or key is None:
        if certificate is None and key is None:
            return None
        there, missing = (field, "client-key") if certificate else (key_field, "client-certificate")
        raise user.fault(missing, f"is missing, and {there} is there: a certificate needs its key, {_AGAIN}")
    try:
        public = x509.load_pem_x509_certificates(certificate)[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise user.fault(field, f"is PEM with something in it that is no certificate: {_AGAIN}") from error
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError as error:
        raise user.fault(key_field, "is encrypted: put in the key without its passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise user.fault(key_field, f"is PEM with something in it that is no key: {_AGAIN}") from error
    if private.public_key() != public:
        raise user.fault(key_field, f"is not the key of the certificate in {field}: {_AGAIN}")
    return certificate, key


def token(user: Entry) -> str | None:
    """Return the user's token, from its file where one is named; None where there is neither. Raises KubeconfigError.

    A file is read anew at each call: what writes such files renews them.
    """
    field = "tokenFile" if user.fields.get("tokenFile") else "token"
    value = user.fields.get(field)
    if not value:
        return None
    if field == "tokenFile":
        value = _content(user, field).decode(errors="replace").strip()
        if not value:
            raise user.fault(field, f"names {_shown(user.fields[field])}, which is empty: log in again")
    if not isinstance(value, str):
        text = f"must be a text, found {structural.word(value)}: put it in quotation marks"
        raise user.fault(field, text)
    if not _SENDABLE.fullmatch(value):
        text = "names a file whose text has" if field == "tokenFile" else "has"
        raise user.fault(field, f"{text} blanks, line breaks or odd characters, as no token has: log in again")
    return value


def _pem(entry: Entry, field: str, label: str) -> tuple[str, bytes | None]:
    """Return the field that is used and its PEM, None where the entry has neither; data comes before a file."""
    inline = f"{field}-data"
    data = entry.fields.get(inline)
    if data:
        if not isinstance(data, str):
            raise entry.fault(inline, f"must be base64 of PEM, found {structural.word(data)}: {_AGAIN}")
        try:
            found = base64.b64decode("".join(data.split()), validate=True)
        except ValueError as error:
            text = f"is not base64 ({len(data)} characters): {_AGAIN}"
            raise entry.fault(inline, text) from error
        if not re.search(rb"-----BEGIN [A-Z ]*" + label.encode(), found):
            text = f"is base64, but not of PEM ({len(found)} bytes without -----BEGIN {label}-----): {_AGAIN}"
            raise entry.fault(inline, text)
        return inline, found
    if not entry.fields.get(field):
        return field, None
    found = _content(entry, field)
    if not re.search(rb"-----BEGIN [A-Z ]*" + label.encode(), found):
        text = f"names {_shown(entry.fields[field])}, which is not PEM (no -----BEGIN {label}-----): name another file"
        raise entry.fault(field, text)
    return field, found


def _content(entry: Entry, field: str) -> bytes:
    """Return what is in the file that a field names; a relative path begins at the kubeconfig's folder."""
    value = entry.fields[field]
    if not isinstance(value, str):
        raise entry.fault(field, f"must be the path of a file, found {structural.word(value)}: name one")
    try:
        return (entry.file.parent / value).read_bytes()
    except FileNotFoundError as error:
        raise entry.fault(field, f"names {_shown(value)}, which is not there: log in again, or name another") from error
    except (OSError, ValueError) as error:
        why = ((error.strerror if isinstance(error, OSError) else None) or "not a path").lower()
        raise entry.fault(field, f"names {_shown(value)}, which cannot be read ({why}): name another file") from error


def _shown(path: str) -> str:
    return f'"{path}"' if _PATH.fullmatch(path) else f"a file with a name of {len(path)} characters"
