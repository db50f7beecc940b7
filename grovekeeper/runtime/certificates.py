"""Certificates that make and rotate themselves: what to do next is a pure function of what is stored and the time.

Order of a rotation of the authority: a new one is made and published beside the old (the bundle holds both), and only
when every API server must have seen it does a leaf of the new one serve. The other order is the classic outage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=365)
CA_RENEW = timedelta(days=90)
LEAF_LIFE = timedelta(days=90)
LEAF_RENEW = timedelta(days=30)
SPREAD_TIME = timedelta(seconds=90)
"""How long after publishing a new authority its leaf may serve: the API servers' watches have seen it by then."""
_BACKDATED = timedelta(days=1)
"""A certificate is valid from before it was made: the clocks of API servers and of ours differ."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class State:
    """What the Secret holds."""

    authority: Pair
    leaf: Pair
    next_authority: Pair | None = None
    next_published: datetime | None = None
    """When the bundle with the next authority was written."""


def bundle(state: State) -> bytes:
    """Return the CA bundle to publish: the authority in use, and the next one where there is one."""
    following = state.next_authority.certificate if state.next_authority else b""
    return state.authority.certificate + following


def fresh(hosts: Sequence[str], now: datetime) -> State:
    """Return a new authority and a leaf for these host names and addresses."""
    authority = _authority(now)
    return State(authority, leaf(authority, hosts, now))


def step(state: State | None, hosts: Sequence[str], now: datetime) -> State:
    """Return what should be stored now; the same object when nothing is to do."""
    if state is None or not usable(state, hosts, now):
        return fresh(hosts, now)
    if state.next_authority is not None and state.next_published is not None:
        if now - state.next_published >= SPREAD_TIME:
            return State(state.next_authority, leaf(state.next_authority, hosts, now))
        return state
    if _expiry(state.authority) - now < CA_RENEW and state.next_authority is None:
        return replace(state, next_authority=_authority(now), next_published=now)
    if _expiry(state.leaf) - now < LEAF_RENEW:
        return replace(state, leaf=leaf(state.authority, hosts, now))
    return state


def usable(state: State, hosts: Sequence[str], now: datetime) -> bool:
    """Return whether the stored leaf can serve: parses, matches its key, is signed, in date and for these hosts."""
    try:
        leaf = x509.load_pem_x509_certificate(state.leaf.certificate)
        authority = x509.load_pem_x509_certificate(state.authority.certificate)
        leaf.verify_directly_issued_by(authority)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        covered = {str(name.value) for name in names}
        matches = _public(state.leaf.key) == leaf.public_key()
        # A Secret that cert-manager has written into holds its authority beside our key.
        matches = matches and _public(state.authority.key) == authority.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return matches and set(hosts) <= covered and leaf.not_valid_after_utc > now


def trusted(chain: bytes, bundle: bytes) -> bool:
    """Return whether a PEM chain (leaf first) leads to a certificate of a PEM bundle; dates are not looked at."""
    try:
        current, *between = x509.load_pem_x509_certificates(chain)
        anchors = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return False
    for _ in range(len(between) + 1):
        if current in anchors or any(_issued(current, anchor) for anchor in anchors):
            return True
        above = next((other for other in between if other != current and _issued(current, other)), None)
        if above is None:
            return False
        current = above
    return False


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def leaf_expiry(certificate: bytes) -> datetime:
    """Return when a PEM certificate ends."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def mismatch(certificate: bytes, key: bytes) -> str | None:
    """Return why a pair given from outside is no pair, as a sentence, or None."""
    try:
        if _public(key) != x509.load_pem_x509_certificate(certificate).public_key():
            return "tls.crt and tls.key do not belong together: wait for the second file, or renew the certificate"
    except (ValueError, TypeError) as error:
        return f"tls.crt or tls.key is not PEM ({error}): check the Secret that is mounted"
    return None


def out_of_date(certificate: bytes, now: datetime) -> str | None:
    """Return why a PEM certificate is not valid at this time, as a sentence, or None."""
    leaf = x509.load_pem_x509_certificate(certificate)
    if leaf.not_valid_after_utc <= now:
        how = "renew it; where cert-manager does so, kubectl describe certificate says why it has not"
        return f"the certificate ended at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: {how}"
    if leaf.not_valid_before_utc > now:
        return f"the certificate begins only at {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: check the clocks"
    return None


def _public(key: bytes) -> object:
    return serialization.load_pem_private_key(key, None).public_key()


def _expiry(pair: Pair) -> datetime:
    return leaf_expiry(pair.certificate)


def _authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Grovekeeper-CA")])
    builder = (
        _builder(name, name, key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder, key, key)


def leaf(authority: Pair, hosts: Sequence[str], now: datetime) -> Pair:
    """Return a leaf of an authority for these host names and addresses."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    builder = (
        _builder(name, issuer.subject, key.public_key(), now, LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return _pair(builder, key, signer)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Pair:
    certificate = builder.sign(signer, hashes.SHA256())
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
