"""A deadline takes nothing from a server that answers: over TLS, and through a proxy's CONNECT."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.request import Request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bft.errors import Unavailable
from chain.federation.bounded import ask
from chain.federation.fetch import fetch
from tests.patience import PATIENCE_S

BODY = bytes(range(256)) * 4_000  # many reads


class Handler(BaseHTTPRequestHandler):
    """Answers BODY, and passes on what comes for somebody else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_CONNECT(self) -> None:
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as beyond:
            self.connection.sendall(b"HTTP/1.1 200 so it is\r\nVia: this\r\n\r\n")
            back = Thread(target=passed_on, args=(beyond, self.connection))
            back.start()
            passed_on(self.connection, beyond)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def passed_on(here: socket.socket, there: socket.socket) -> None:
    """All bytes, and the end after them."""
    with suppress(OSError):
        while piece := here.recv(65_536):
            there.sendall(piece)
        there.shutdown(socket.SHUT_WR)


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed one for 127.0.0.1, with its key behind it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's")])
    places = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(places, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(pem) + secret)
    return path


def test_an_answer_over_tls_comes_whole_and_only_from_whom_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listening(context) as port, listening() as proxy:
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(Unavailable, match="its certificate is not trusted here"):
            fetch(url, len(BODY))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(url, len(BODY)) == BODY
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy}")
        assert fetch(url, len(BODY)) == BODY
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        with pytest.raises(Unavailable, match="Connection refused"):
            fetch(url, len(BODY))
        assert ask(Request(url), len(BODY), PATIENCE_S, direct=True) == BODY
