"""The adapter over mutual TLS, as operators run it, against a real etcd that demands it."""

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bft.errors import Unavailable
from deploy.etcd import Tls, open_client
from tests.deploy.etcd_server import running_etcd

SERVER_NAME = "etcd.example"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """An authority and our certificate; the server's stand beside them."""
    home = tmp_path_factory.mktemp("tls")
    authority = make_certificate(home, "authority", None)
    make_certificate(home, "server", authority)
    make_certificate(home, "replica", authority)
    return Tls(home / "authority.pem", home / "replica.pem", home / "replica.key")


@pytest.fixture(scope="module")
def endpoint(tls: Tls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    files = (tls.authority, tls.key, tls.certificate)
    with running_etcd(
        tmp_path_factory.mktemp("etcd"),
        grpc.ssl_channel_credentials(*(path.read_bytes() for path in files)),
        f"--cert-file={tls.authority.with_name('server.pem')}",
        f"--key-file={tls.authority.with_name('server.key')}",
        f"--trusted-ca-file={tls.authority}",
        "--client-cert-auth",
    ) as address:
        yield address


def test_with_our_certificate_etcd_lets_us_in(tls: Tls, endpoint: str) -> None:
    with open_client([endpoint], tls=tls) as client:
        client.put(b"key", b"value")
        value = client.get(b"key")
    assert value is not None
    assert value.data == b"value"


def test_several_members_answer_to_one_name(tls: Tls, endpoint: str) -> None:
    with open_client([endpoint, endpoint], tls=replace(tls, server_name=SERVER_NAME)) as client:
        client.put(b"key", b"value")


def test_a_certificate_of_a_stranger_is_not_let_in(tls: Tls, endpoint: str, tmp_path: Path) -> None:
    make_certificate(tmp_path, "stranger", None)
    stranger = Tls(tls.authority, tmp_path / "stranger.pem", tmp_path / "stranger.key")
    with open_client([endpoint], tls=stranger, timeout_s=2) as client, pytest.raises(Unavailable):
        client.get(b"key")


def test_a_server_that_nobody_vouches_for_gets_no_word(
    tls: Tls, endpoint: str, tmp_path: Path
) -> None:
    make_certificate(tmp_path, "other", None)
    mistaken = replace(tls, authority=tmp_path / "other.pem")
    with open_client([endpoint], tls=mistaken, timeout_s=2) as client, pytest.raises(Unavailable):
        client.put(b"key", b"secret")


def test_a_server_under_another_name_gets_no_word(tls: Tls, endpoint: str) -> None:
    mistaken = replace(tls, server_name="elsewhere.example")
    with open_client([endpoint], tls=mistaken, timeout_s=2) as client, pytest.raises(Unavailable):
        client.put(b"key", b"secret")


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make_certificate(home: Path, name: str, authority: Authority | None) -> Authority:
    """Writes name.pem and name.key, signed by `authority`, or by itself as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(SERVER_NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority[0].subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority[1] if authority else key, hashes.SHA256())
    )
    (home / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (home / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key
