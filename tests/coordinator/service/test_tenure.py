"""The key in etcd, held by this process: renewed, confirmed, lost; against a real etcd."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from coordinator import doctor_peers
from coordinator.config import Setup, load_setup
from coordinator.guard.shared import SharedGuard
from coordinator.guard.store import Fenced, SqliteGuard
from coordinator.service.tenure import Tenure, open_etcd
from coordinator.settings import Standby
from deploy.etcd import EtcdClient, open_client
from deploy.lease import acquire, holder_of, key_prefix
from tests.coordinator.guard.messages import OWNER
from tests.deploy.etcd_server import running_etcd
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT, STILL

pytestmark = pytest.mark.integration

LEASE_S = 2


@pytest.fixture(scope="module")
def etcd_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_etcd(tmp_path_factory.mktemp("etcd"), None) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def etcd(etcd_endpoint: str) -> Iterator[EtcdClient]:
    with open_client([etcd_endpoint]) as client:
        yield client


@pytest.fixture
def prefix() -> bytes:
    """Of a key that no other test uses."""
    return key_prefix(sha256(uuid.uuid4().bytes), OWNER)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[SqliteGuard]:
    guard = SqliteGuard(tmp_path / "guard.db", OWNER, create=True)
    yield guard
    guard.close()


async def test_a_holder_that_lives_keeps_its_key_beyond_the_lease(
    etcd: EtcdClient, prefix: bytes, local: SqliteGuard
) -> None:
    hold = acquire(etcd, prefix, b"here", LEASE_S)
    tenure = Tenure(hold, SharedGuard(local, hold))
    loop = asyncio.get_running_loop()
    until = loop.time() + 2 * LEASE_S
    while loop.time() < until:
        await tenure.confirm()
        await asyncio.sleep(0.05)
    assert tenure.lost is None and holder_of(etcd, prefix) == "here"
    await tenure.close()
    assert holder_of(etcd, prefix) is None


async def test_a_holder_without_its_lease_confirms_nothing_any_more(
    etcd: EtcdClient, prefix: bytes, local: SqliteGuard
) -> None:
    hold = acquire(etcd, prefix, b"here", LEASE_S)
    tenure = Tenure(hold, SharedGuard(local, hold))
    lost = asyncio.Event()
    tenure.on_loss = lost.set
    hold.release()  # its lease ends, as after a long sleep
    async with asyncio.timeout(PATIENCE_S):
        await lost.wait()
    with pytest.raises(Fenced, match="has ended"):
        await tenure.confirm()
    await tenure.close()


def standby_setup(root: Path, standby: Standby) -> Setup:
    _, homes = federation_here(root, 1, STILL, JOB, SNAPSHOT)
    setup = load_setup(homes[0])
    config = replace(setup.config, standby=standby)
    return Setup(setup.home, config, setup.genesis, setup.member, setup.keystore, setup.identity)


def test_the_doctor_says_who_holds_the_key(etcd_endpoint: str, tmp_path: Path) -> None:
    standby = Standby(etcd=(etcd_endpoint,))
    setup = standby_setup(tmp_path, standby)
    assert doctor_peers.etcd(setup) == f"{etcd_endpoint} answers; nobody holds the key"
    with open_client([etcd_endpoint]) as client:
        own = key_prefix(setup.genesis.chain_id, setup.identity.public_key)
        hold = acquire(client, own, b"host-b", LEASE_S)
        assert doctor_peers.etcd(setup) == f"{etcd_endpoint} answers; host-b holds the key"
        hold.release()


def test_plain_text_does_not_leave_the_machine(tmp_path: Path) -> None:
    standby = Standby(etcd=("etcd.example:2379",))
    with pytest.raises(ConfigError, match=r"needs standby\.tls"):
        open_etcd(standby_setup(tmp_path, standby), standby)
