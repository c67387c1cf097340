"""Readers at the edge: settings in YAML, keys and records in files, what stands on the board."""

import atexit
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.codec.envelope import seal
from chain.federation.transport import base_url
from chain.node import config as node
from chain.records.contribution import Profile, UploadAuthorization
from chain.records.federation import FederationKey, MemberRecord
from chain.records.score_log import LogEntry
from coordinator import config as coordinator
from coordinator.cycle.state import State
from coordinator.observer import decode_page
from coordinator.service.following import PAGE_BYTES_MAX
from coordinator.service.upload_rights import UploadRights
from deploy import discovery
from miner import config as miner
from miner import profile
from miner.files import UnitStore
from tests.bft.pbft import identities
from tests.chain import federation_fixture as chain
from tests.fuzz.federation import sealed
from tests.fuzz.records import sample
from tests.fuzz.target import Target

UPDATE = b"\x05" * 32
NODE_YAML = b"""\
api_version: gristmill/v1
kind: Node
p2p: 127.0.0.1:7500
peers: ["127.0.0.1:1", "[::1]:2"]
replicas: ["http://127.0.0.1:3"]
inbound_max: 20
"""
REPLICA_YAML = b"""\
api_version: gristmill/v1
kind: Replica
listen: {link: "0.0.0.0:7400", api: "0.0.0.0:7401"}
storage: {blobs_bytes_max: 17179869184}
evaluation: {workers: 1}
log_level: info
"""
MINER_YAML = b"""\
federation: ["http://127.0.0.1:1"]
nodes: []
device: cpu
watts_per_core: 15
"""


@cache
def _directory() -> Path:
    made = TemporaryDirectory(prefix="fuzz-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _from_file(name: str, load: Callable[[Path], object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path = _directory() / name
        path.write_bytes(data)
        path.chmod(0o600)
        load(path)

    return read


def _miner_home(file: str) -> Callable[[bytes], None]:
    """A home in which one file is hostile."""

    def read(data: bytes) -> None:
        home = _directory() / "miner"
        home.mkdir(exist_ok=True)
        for name, good in (
            (miner.KEY_FILE, b"07" * 32),
            (miner.GENESIS_FILE, encode(chain.GENESIS)),
            (miner.CONFIG_FILE, MINER_YAML),
        ):
            (home / name).write_bytes(data if name == file else good)
            (home / name).chmod(0o600)
        miner.load_home(home)

    return read


def _replica_home(file: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        home = coordinator.Home(_directory() / "replica")
        home.path.mkdir(exist_ok=True)
        for path, good in (
            (home.genesis, encode(chain.GENESIS)),
            (home.config, REPLICA_YAML),
            (home.tls_certificate, b""),
            (home.identity_key, chain.key_of("replica 0").secret.hex().encode()),
            (home.tls_key, b""),
        ):
            path.write_bytes(data if path.name == file else good)
            path.chmod(0o600)
        coordinator.load_setup(home.path)

    return read


def _profile(data: bytes) -> None:
    """A damaged profile is measured again; it is no error."""
    home = _directory() / "profile"
    home.mkdir(exist_ok=True)
    (home / profile.PROFILE_FILE).write_bytes(data)
    profile.load_profile(home, chain.JOB, "cpu")


def _units(data: bytes) -> None:
    """A damaged record of a trained unit is left out; it is no error."""
    home = _directory() / "units-home"
    home.mkdir(exist_ok=True)
    store = UnitStore(home)
    store.bytes_path(1, 1).with_suffix(".record").write_bytes(data)
    store.restore()


def _profile_sample() -> bytes:
    home = _directory() / "saved"
    home.mkdir(exist_ok=True)
    made = Profile(device=b"cpu", capacity=5, memory_bytes=6)
    profile.save_profile(home, chain.JOB, made)
    return (home / profile.PROFILE_FILE).read_bytes()


def _key_text(data: bytes) -> None:
    node.parse_key(data.decode("utf-8", "replace"), "somewhere")


def _address(data: bytes) -> None:
    coordinator.split_address(data.decode("utf-8", "replace"))


def _endpoint(data: bytes) -> None:
    node.split_endpoint(data.decode("utf-8", "replace"))


def _url(data: bytes) -> None:
    base_url(data.decode("utf-8", "replace"))


def _board(data: bytes) -> None:
    discovery.check(data, identities.members(4), 1)


def _settings() -> list[Target]:
    genesis = encode(chain.GENESIS)
    member = encode(chain.GENESIS.members[0])
    federation_key = encode(sample(FederationKey, 1))
    return [
        Target(
            name="node-settings",
            read=_from_file("node.yaml", node.load_config),
            samples=(NODE_YAML,),
            covers=("chain.node.config:load_config",),
        ),
        Target(
            name="miner-settings",
            read=_from_file("miner.yaml", miner.load_config),
            samples=(b"device: auto\nnodes: ['http://node:7501']\nniceness: 19\n",),
            covers=("miner.config:load_config",),
        ),
        Target(
            name="node-genesis",
            read=_from_file("genesis.bin", node.load_genesis),
            samples=(genesis,),
            covers=("chain.node.config:load_genesis",),
        ),
        Target(
            name="node-key",
            read=_from_file("key", lambda path: node.read_key_file(path, chain.CHAIN_ID)),
            samples=(chain.FEDERATION_KEY.hex().encode(), federation_key),
        ),
        Target(
            name="replica-settings",
            read=_from_file("replica.yaml", coordinator.load_config),
            samples=(REPLICA_YAML,),
            covers=("coordinator.config:load_config",),
        ),
        Target(
            name="replica-member",
            read=_from_file("member.bin", lambda path: coordinator.read_record(path, MemberRecord)),
            samples=(member,),
        ),
        Target(
            name="replica-secret",
            read=_from_file("secret", coordinator.read_secret),
            samples=(b"07" * 32 + b"\n",),
        ),
        *(
            Target(
                name=f"replica-home-{file}",
                read=_replica_home(file),
                samples=(good,),
                covers=("coordinator.config:load_setup",),
            )
            for file, good in (
                ("genesis.bin", genesis),
                ("identity.key", chain.key_of("replica 0").secret.hex().encode()),
            )
        ),
        *(
            Target(
                name=f"miner-home-{file}",
                read=_miner_home(file),
                samples=(good,),
                covers=("miner.config:load_home", "miner.config:load_genesis"),
            )
            for file, good in (
                (miner.KEY_FILE, b"07" * 32),
                (miner.GENESIS_FILE, genesis),
                (miner.CONFIG_FILE, MINER_YAML),
            )
        ),
        Target(
            name="miner-profile",
            read=_profile,
            samples=(_profile_sample(),),
            covers=("miner.profile:load_profile",),
        ),
        Target(name="miner-units", read=_units, samples=(b"\x91",)),
    ]


def _words() -> list[Target]:
    key = identities.key("replica 1")
    endpoints = discovery.Endpoints(
        chain_id=identities.CHAIN, epoch=0, replica=1, sequence=9, urls=(b"https://a.example:1",)
    )
    return [
        Target(name="key-text", read=_key_text, samples=(chain.FEDERATION_KEY.hex().encode(),)),
        Target(name="address", read=_address, samples=(b"127.0.0.1:80", b"[::1]:7")),
        Target(name="endpoint", read=_endpoint, samples=(b"127.0.0.1:80", b"[::1]:7")),
        Target(name="url", read=_url, samples=(b"http://127.0.0.1:80/x", b"https://[::1]:7")),
        Target(
            name="board",
            read=_board,
            samples=(seal(endpoints, key.public_key, key.sign),),
            inner=(encode(endpoints),),
            wrap=lambda body: sealed(discovery.Endpoints.TAG, body, key),
        ),
        _upload(),
    ]


def _header(data: bytes) -> None:
    """An upload's header is the hex of these bytes."""
    rights = UploadRights(chain.CHAIN_ID, 1 << 20, _no_state)
    rights.open(data.hex(), UPDATE)


def _no_state() -> State:
    raise AssertionError("what is not opened is not looked up")


def _upload() -> Target:
    key = identities.key("replica 1")
    asked = UploadAuthorization(chain_id=chain.CHAIN_ID, cycle=1, digest=UPDATE, size=100)
    return Target(
        name="upload-authorization",
        read=_header,
        samples=(seal(asked, key.public_key, key.sign),),
        covers=("coordinator.service.upload_rights:UploadRights.open",),
        inner=(encode(asked),),
        wrap=lambda body: sealed(UploadAuthorization.TAG, body, key),
    )


def _pages() -> tuple[Target, ...]:
    entry = LogEntry(index=0, leaf=b"a leaf", proof=b"its proof")
    pages = (encode(()), encode((entry,)), encode((entry, replace(entry, index=1, proof=b""))))

    def read(data: bytes) -> bytes:
        return encode(decode_page(data, PAGE_BYTES_MAX))

    covers = ("coordinator.observer:decode_page",)
    return (Target(name="log-page", read=read, samples=pages, covers=covers),)


def targets() -> tuple[Target, ...]:
    """By room."""
    return (*_settings(), *_words(), *_pages())
