"""How a federation comes to be: each operator makes its own keys, public records make the genesis.

Nothing secret leaves a home.  There is no dealer: the federation key is made later, by the replicas
themselves, over the ordered log (bft/dkg), in a development federation as well.
"""

import datetime
import json
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError, DecodeError
from chain.durable import write_whole
from chain.params import Params
from chain.records.federation import Genesis, MemberRecord
from chain.records.job import Job
from chain.rules.founding import GENESIS_VERSION, check_genesis
from chain.settings_text import example
from coordinator.config import (
    IDENTITY,
    SECRET_BYTES,
    TLS,
    Home,
    split_address,
)
from coordinator.guard.store import SqliteGuard
from coordinator.keys.store import COST, Cost, create_keystore
from coordinator.service.blobs import blob_path
from coordinator.settings import ReplicaConfig

# Below the range from which systems take ports for outgoing connections.
_PORT_FIRST, _PORT_LAST = 20_000, 32_000

NAME_BYTES_MAX = 64  # as the member record

R = TypeVar("R", bound=Record)


def create_identity(
    home: Path,
    operator_name: str,
    link: str,
    api: str,
    passphrase: bytes | None = None,
    cost: Cost = COST,
) -> MemberRecord:
    """Make a replica's keys and settings in `home`, which must not hold any.

    Args:
        operator_name: for people, at most 64 bytes of UTF-8.
        link, api: host:port at which others reach this replica.
        passphrase: under which the keys are encrypted; None leaves them plain.
        cost: of guessing it.

    Raises:
        ConfigError: there are keys already, which are never overwritten; or name or addresses
            do not fit a member record.
    """
    for address in (link, api):
        split_address(address)
    if not 0 < len(operator_name.encode()) <= NAME_BYTES_MAX:
        raise ConfigError(f"an operator's name has 1 to {NAME_BYTES_MAX} bytes of UTF-8")
    paths = Home(home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (*paths.secrets, paths.guard, paths.journal):
        if path.exists():
            raise ConfigError(f"{path} exists; keys are never overwritten")
    identity = PrivateKey(_identity_secret())
    certificate, key = _tls_identity(operator_name)
    member = _checked(
        MemberRecord,
        MemberRecord(
            operator=operator_name.encode(),
            key=identity.public_key,
            tls_certificate=certificate.public_bytes(serialization.Encoding.DER),
            link=link.encode(),
            api=api.encode(),
        ),
    )
    keystore = create_keystore(home, passphrase, cost)
    keystore.write(IDENTITY, identity.secret.hex().encode() + b"\n")
    keystore.write(TLS, key)
    SqliteGuard(paths.guard, identity.public_key, create=True).close()
    write_whole(paths.tls_certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    write_whole(paths.member, encode(member), 0o644)
    if not paths.config.exists():
        write_whole(paths.config, example(ReplicaConfig).encode(), 0o644)
    return member


def note_passphrase_file(home: Path, file: Path) -> None:
    """Write into the settings of a new home where the passphrase of its keys is."""
    with Home(home).config.open("a", encoding="utf-8") as settings:
        settings.write(f"passphrase: {{file: {json.dumps(str(file.resolve()))}}}\n")


def make_genesis(
    name: str, members: Sequence[MemberRecord], params: Params, job: Job, snapshot: bytes
) -> Genesis:
    """The genesis record: its digest is the chain id.  `snapshot`: the first model's bytes.

    Raises:
        ConfigError: no members, two with one key, certificate or address, a name that is too
            long, or rules that cannot be applied.
    """
    if not members:
        raise ConfigError("a federation has at least one member")
    for what, values in (
        ("identity key", {member.key for member in members}),
        ("TLS certificate", {member.tls_certificate for member in members}),
        ("link address", {member.link for member in members}),
    ):
        if len(values) != len(members):
            raise ConfigError(f"two members have one {what}")
    genesis = Genesis(
        version=GENESIS_VERSION,
        name=name.encode(),
        created_ms=time.time_ns() // 1_000_000,
        params=params,
        job=replace(job, genesis_model=sha256(snapshot)),
        members=tuple(members),
    )
    check_genesis(_checked(Genesis, genesis))
    return genesis


def write_genesis(home: Path, genesis: Genesis, snapshot: bytes) -> None:
    """Put the trust anchor and the first model into a home.

    Raises:
        ConfigError: there are no keys here, another genesis is there, or `snapshot` is not its
            first model.
    """
    paths = Home(home)
    if not paths.member.is_file():
        raise ConfigError(f"{paths.member} is missing; `gristmill operator init` makes it")
    if sha256(snapshot) != genesis.job.genesis_model:
        raise ConfigError("the snapshot is not the genesis record's first model")
    if paths.genesis.exists() and paths.genesis.read_bytes() != encode(genesis):
        raise ConfigError(f"{paths.genesis} is of another chain; it is never overwritten")
    write_whole(paths.genesis, encode(genesis), 0o644)
    blob = paths.blobs / blob_path(genesis.job.genesis_model)
    blob.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(blob, snapshot, 0o644)


def local_federation(
    root: Path,
    replicas: int,
    params: Params,
    job: Job,
    snapshot: bytes,
    ports: Sequence[int] | None = None,
) -> tuple[Genesis, tuple[Path, ...]]:
    """A federation on this machine: one home a replica, each with its own secrets only.

    Args:
        ports: two a replica, for link and API; free ones when left out.

    Returns:
        The genesis record and the homes, `root`/replica-0 and so on.
    """
    chosen = tuple(ports) if ports is not None else free_ports(2 * replicas)
    if len(chosen) != 2 * replicas:
        raise ConfigError(f"{len(chosen)} ports came for {replicas} replicas; two each expected")
    homes = tuple(root / f"replica-{index}" for index in range(replicas))
    members = [
        create_identity(
            home,
            f"operator-{index}",
            f"127.0.0.1:{chosen[2 * index]}",
            f"127.0.0.1:{chosen[2 * index + 1]}",
        )
        for index, home in enumerate(homes)
    ]
    genesis = make_genesis("local", members, params, job, snapshot)
    for home in homes:
        write_genesis(home, genesis, snapshot)
    return genesis, homes


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of 127.0.0.1 that nobody listens on now.  Raises ConfigError: there are too few."""
    found: list[int] = []
    held: list[socket.socket] = []
    span = _PORT_LAST - _PORT_FIRST
    start = secrets.randbelow(span)
    try:
        for step in range(span):
            if len(found) == count:
                return tuple(found)
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(probe)
            try:
                probe.bind(("127.0.0.1", _PORT_FIRST + (start + step) % span))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
    finally:
        for probe in held:
            probe.close()
    raise ConfigError(f"{count} free ports on 127.0.0.1 wanted; {len(found)} found")


def _checked(kind: type[R], record: R) -> R:
    """`record`, every field within its width.  Raises ConfigError."""
    try:
        return decode(kind, encode(record))
    except DecodeError as error:
        raise ConfigError(str(error)) from None


def _identity_secret() -> bytes:
    """A scalar in 1..n-1: all but 2**-127 of all 32-byte strings are."""
    while True:
        candidate = secrets.token_bytes(SECRET_BYTES)
        try:
            return PrivateKey(candidate).secret
        except ConfigError:
            continue


def _tls_identity(operator_name: str) -> tuple[x509.Certificate, bytes]:
    """A self-signed certificate without end of life, because its bytes are the identity."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, operator_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        # RFC 5280, 4.1.2.5: "no well-defined expiration date".
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate, pem
