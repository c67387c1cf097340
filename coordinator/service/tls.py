"""Mutual TLS 1.3 between replicas: trust is exactly the certificates of the epoch's members.

No certificate authority and no host names: a peer is who holds the key of the certificate that
stands in the member record.  TLS keeps strangers out; safety rests on signatures alone.
"""

import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bft.errors import ConfigError
from coordinator.service.roster import Roster

Key = bytes | Path
"""A private key in PEM, as bytes from the keystore or in a plain file."""


def certificate_der(path: Path) -> bytes:
    """The certificate in a PEM file, as member records hold it.  Raises ConfigError."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return certificate.public_bytes(serialization.Encoding.DER)


def server_context(roster: Roster, certificate: Path, key: Key) -> ssl.SSLContext:
    """Lets in the holders of member certificates, nobody else.  Raises ConfigError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key)
    context.load_verify_locations(
        cadata=b"".join(member.tls_certificate for member in roster.members)
    )
    context.num_tickets = 0  # every link does the whole handshake
    return context


def client_context(roster: Roster, peer: int, certificate: Path, key: Key) -> ssl.SSLContext:
    """Connects to member `peer`, to nobody else.  Raises ConfigError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key)
    context.load_verify_locations(cadata=roster.members[peer].tls_certificate)
    return context


def _context(protocol: ssl._SSLMethod, certificate: Path, key: Key) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the pinned certificate is the identity
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        if isinstance(key, Path):
            context.load_cert_chain(certificate, key)
        else:
            _load_chain(context, certificate, key)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"{certificate} and its key do not belong together: {error}") from None
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: bytes) -> None:
    """Python's ssl reads keys from files only: it gets one that nobody else can open."""
    password = secrets.token_hex(32).encode()
    sealed = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(sealed)
        file.flush()
        context.load_cert_chain(certificate, file.name, password)
