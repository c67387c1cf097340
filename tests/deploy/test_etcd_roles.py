"""OPERATING's etcd: three nodes, mutual TLS, and a role by the certificate's CommonName."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bft.errors import ConfigError
from deploy.etcd import EtcdClient, Tls, open_client
from deploy.lease import acquire, key_prefix
from tests.deploy.etcd_server import etcd_program, wait_until_it_answers
from tests.deploy.test_etcd_tls import SERVER_NAME, make_certificate
from tests.docs.extract import steps_of
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

NODES = 3
CHAPTER = "An etcd for it"
CHAIN, KEY = bytes(32), b"\2" * 33


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """ada's; `root.*` stand beside them."""
    home = tmp_path_factory.mktemp("tls")
    authority = make_certificate(home, "etcd-ca", None)
    for name in ("server", "root", "ada", "mallory"):
        make_certificate(home, name, authority)
    return Tls(home / "etcd-ca.pem", home / "ada.pem", home / "ada.key")


@pytest.fixture(scope="module")
def endpoints(tls: Tls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Three nodes, after the page's commands."""
    program = etcd_program()
    control = shutil.which("etcdctl", path=str(Path(program or "").parent)) or shutil.which(
        "etcdctl"
    )
    if program is None or control is None:
        pytest.skip("no etcd with etcdctl: see tests/deploy/etcd_server.py")
    home, files = tmp_path_factory.mktemp("etcd"), tls.authority.parent
    ports = claim_ports(2 * NODES)
    clients = [f"127.0.0.1:{port}" for port in ports[:NODES]]
    peers = [f"https://127.0.0.1:{port}" for port in ports[NODES:]]
    members = ",".join(f"n{index}={peer}" for index, peer in enumerate(peers))
    servers = []
    try:
        for index, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            with (home / f"{index}.log").open("wb") as log:
                servers.append(
                    subprocess.Popen(
                        [
                            program,
                            *(f"--name=n{index}", f"--data-dir={home / str(index)}"),
                            f"--listen-client-urls=https://{client}",
                            f"--advertise-client-urls=https://{client}",
                            *(f"--listen-peer-urls={peer}", f"--initial-cluster={members}"),
                            f"--initial-advertise-peer-urls={peer}",
                            *(f"--cert-file={files}/server.pem", f"--key-file={files}/server.key"),
                            *(f"--trusted-ca-file={tls.authority}", "--client-cert-auth"),
                            f"--peer-cert-file={files}/server.pem",
                            f"--peer-key-file={files}/server.key",
                            *(f"--peer-trusted-ca-file={tls.authority}", "--peer-client-cert-auth"),
                        ],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        credentials = grpc.ssl_channel_credentials(
            *(path.read_bytes() for path in (tls.authority, tls.key, tls.certificate))
        )
        for index, client in enumerate(clients):
            wait_until_it_answers(client, credentials, home / f"{index}.log")
        type_the_page(control, clients, files)
        yield clients
    finally:
        for server in servers:
            server.kill()
            server.wait()


def type_the_page(control: str, clients: list[str], files: Path) -> None:
    """The page's etcdctl lines, as they stand."""
    lines = [step.command for step in steps_of("docs/OPERATING.md") if step.heading == CHAPTER]
    assert len(lines) > 5
    script = "\n".join(["set -e", *lines])
    script = re.sub(
        r"10\.0\.0\.5:2379,10\.0\.0\.6:2379,10\.0\.0\.7:2379", ",".join(clients), script
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=files,
        env={"PATH": f"{Path(control).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def client_of(name: str, tls: Tls, endpoints: list[str]) -> EtcdClient:
    files = tls.authority.parent
    own = Tls(tls.authority, files / f"{name}.pem", files / f"{name}.key", SERVER_NAME)
    return open_client(endpoints, tls=own)


def test_the_role_lets_its_operator_hold_the_key(tls: Tls, endpoints: list[str]) -> None:
    with client_of("ada", tls, endpoints) as client:
        hold = acquire(client, key_prefix(CHAIN, KEY), b"test", 5)
        hold.look()
        hold.raise_to(b"memory")
        hold.renew()
        assert hold.current
        assert hold.look().memory == b"memory"
        hold.release()
        assert client.get(key_prefix(CHAIN, KEY) + b"lock") is None


def test_it_lets_nobody_else_in_and_nowhere_else(tls: Tls, endpoints: list[str]) -> None:
    with (
        client_of("ada", tls, endpoints) as client,
        pytest.raises(ConfigError, match="permission"),
    ):
        client.put(b"/other", b"value")
    with (
        client_of("mallory", tls, endpoints) as client,
        pytest.raises(ConfigError, match=r"permission|user"),
    ):
        acquire(client, key_prefix(CHAIN, KEY), b"test", 5)


def test_several_nodes_need_the_name_in_their_certificates(tls: Tls, endpoints: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"several need tls\.server_name"):
        open_client(endpoints, tls=tls)
