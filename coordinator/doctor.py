"""What can be wrong with a replica, looked at from outside, and what to do about each.

Here: its files, disk and ports.  The clock, the others and etcd: coordinator/doctor_peers.py.
"""

import datetime
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bft.crypto.hashing import sha256
from bft.errors import ConfigError, FederationError
from coordinator.config import TLS, Setup, load_setup, split_address
from coordinator.doctor_peers import etcd, others
from coordinator.guard.store import peek
from coordinator.service.app import lock_home
from coordinator.service.blobs import blob_path
from coordinator.service.journal import Journal
from coordinator.service.tls import certificate_der
from miner.training.data import load

DISK_FREE_MIN = 1024**3
EXPIRES_SOON = datetime.timedelta(days=30)
FOR_EVER = 9999  # RFC 5280, 4.1.2.5: the year of a certificate that does not expire

ADVICE = {
    "files": "what the line says; docs/OPERATING.md, When something is wrong",
    "guard": "gristmill operator guard status; docs/OPERATING.md, Never sign twice",
    "certificate": "put tls.crt and tls.key of the backup back, or have the member replaced "
    "(gristmill operator propose --replace)",
    "model": "what the line says",
    "data set": "the operators publish the job's data; GRISTMILL_DATA names where it is "
    "(docs/JOBS.md)",
    "disk": "make room, or lower storage.blobs_bytes_max",
    "journal": "never put an old copy back; docs/OPERATING.md, Backup",
    "ports": "`ss -ltnp` says who listens there; stop it, or set listen in replica.yaml",
    "etcd": "`etcdctl endpoint health`; while it is down nobody takes this replica's part over",
    "clock": "let chrony or systemd-timesyncd set it; beyond 10 s proposals are not voted for",
    "quorum": "call the other operators: with fewer than a quorum nothing is decided",
    "peer": "ask its operator; look at its address, the network between, and its clock",
}
"""What to do, by the first word of a finding."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str

    @property
    def kind(self) -> str:
        """The name without a peer's index."""
        return self.name.rstrip("0123456789 ")

    @property
    def advice(self) -> str | None:
        """What to do about it; None: nothing is wrong."""
        return None if self.ok else ADVICE[self.kind]


def examine(home: Path) -> list[Finding]:
    """All checks, in the order in which one would repair things."""
    try:
        setup = load_setup(home)
    except ConfigError as error:
        return [Finding("files", False, str(error))]
    chain = setup.genesis.chain_id.hex()[:16]
    name = setup.member.operator.decode("utf-8", "replace")
    who = "no founder" if setup.index is None else f"replica {setup.index}"
    found = [Finding("files", True, f"{who} ({name}) of chain {chain}")]
    running = _is_running(setup)
    found.append(Finding("process", True, "running" if running else "not running"))
    checks: list[tuple[str, Callable[[], str]]] = [
        ("keys", lambda: _keys(setup)),
        ("guard", lambda: _guard(setup)),
        ("certificate", lambda: _certificate(setup)),
        ("model", lambda: _genesis_model(setup)),
        ("data set", lambda: _data_set(setup)),
        ("disk", lambda: _disk(setup)),
    ]
    if not running:
        checks += [("journal", lambda: _journal(setup)), ("ports", lambda: _ports(setup))]
    if setup.config.standby is not None:
        checks.append(("etcd", lambda: etcd(setup)))
    found += [_finding(name, check) for name, check in checks]
    return [*found, *(Finding(*told) for told in others(setup))]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (FederationError, OSError) as error:
        return Finding(name, False, str(error))


def _is_running(setup: Setup) -> bool:
    try:
        descriptor = lock_home(setup.home.lock)
    except ConfigError:
        return True
    os.close(descriptor)
    return False


def _keys(setup: Setup) -> str:
    return "encrypted" if setup.keystore.encrypted else "PLAIN, as somebody chose"


def _guard(setup: Setup) -> str:
    seen = peek(setup.guard, setup.identity.public_key)
    if seen.closed is not None:
        raise ConfigError(f"closed: {seen.closed}")
    if seen.refusals[0]:
        raise ConfigError(f"{seen.refusals[0]} signatures were refused; see operator guard status")
    return f"raised {seen.reservation.number} times, nothing was refused"


def _certificate(setup: Setup) -> str:
    path = setup.home.tls_certificate
    der = certificate_der(path)
    if der != setup.member.tls_certificate:
        raise ConfigError(f"{path} is not the one in the genesis record")
    certificate = x509.load_der_x509_certificate(der)
    key = serialization.load_pem_private_key(setup.keystore.read(TLS), None)
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{setup.home.tls_key} is not the key of {path}")
    return f"is the one in the genesis record{validity(certificate, path)}"


def validity(certificate: x509.Certificate, path: Path) -> str:
    """How long it is valid, where that is not for ever.  Raises ConfigError: it is not now."""
    now = datetime.datetime.now(datetime.UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise ConfigError(f"{path} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, not today")
    if last - now < EXPIRES_SOON:
        raise ConfigError(f"{path} expires on {last:%Y-%m-%d}")
    return "" if last.year == FOR_EVER else f", valid until {last:%Y-%m-%d}"


def _genesis_model(setup: Setup) -> str:
    digest = setup.genesis.job.genesis_model
    path = setup.home.blobs / blob_path(digest)
    if not path.is_file():
        return "the first model is not here; peers will be asked for it"
    if sha256(path.read_bytes()) != digest:
        raise ConfigError(f"{path} is damaged; delete it, peers have it")
    return "the first model is here"


def _data_set(setup: Setup) -> str:
    job = setup.genesis.job
    return f"{len(load(job).records)} records of {job.dataset.decode(errors='replace')} are here"


def _disk(setup: Setup) -> str:
    free = shutil.disk_usage(setup.home.path).free
    if free < DISK_FREE_MIN:
        raise ConfigError(f"{free} bytes are free; at least {DISK_FREE_MIN} should be")
    return f"{free // 1024**3} GiB are free"


def _journal(setup: Setup) -> str:
    if not setup.home.journal.exists():
        return "none yet; the first start makes it"
    journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
    try:
        recovery = journal.recover()
    finally:
        journal.close()
    return f"{recovery.log_size} log entries, {len(recovery.consensus.records)} promises, all whole"


def _ports(setup: Setup) -> str:
    listen, member = setup.config.listen, setup.member
    addresses = (listen.link or member.link.decode(), listen.api or member.api.decode())
    for address in addresses:
        host, port = split_address(address)
        try:
            with socket.create_server((host, port)):
                pass
        except OSError as error:
            raise ConfigError(f"{address}: {error.strerror}") from None
    return f"{' and '.join(addresses)} are free"
