"""Members change on loopback: files, TLS, consensus, resharing, and a restart in each process."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.crypto import bls
from chain.federation.client import FederationClient
from chain.records.federation import MemberRecord
from chain.records.membership import Approve, Propose
from coordinator.ceremony import create_identity, write_genesis
from coordinator.config import load_setup
from coordinator.cycle.phases.clock import RESHARING_MS
from coordinator.cycle.state import State
from coordinator.membership import say
from coordinator.service.stint import MemberStint
from tests.coordinator.service.mill import BUSY, SNAPSHOT, Mill, running
from tests.ports import claim_ports

pytestmark = pytest.mark.integration

OFTEN = replace(BUSY, checkpoint_interval=8, window=16)


def newcomer(mill: Mill, root: Path, name: str) -> MemberRecord:
    """A home that knows the federation and is no member of it; the mill may start it."""
    link, api = claim_ports(2)
    member = create_identity(root, name, f"127.0.0.1:{link}", f"127.0.0.1:{api}")
    write_genesis(root, mill.genesis, SNAPSHOT)
    mill.homes = (*mill.homes, root)
    return member


async def change(mill: Mill, by: tuple[int, ...], members: tuple[MemberRecord, ...]) -> None:
    """The homes `by` want these members; as many as it takes."""
    state = mill.services[by[0]].stint.standing.replica.state
    proposal = Propose(epoch=state.epoch + 1, members=members, reason=b"a test")
    await say(load_setup(mill.homes[by[0]]), state.members, proposal)
    for index in by[1:]:
        approval = Approve(proposal=proposal.digest)
        await say(load_setup(mill.homes[index]), state.members, approval)


def seen(mill: Mill, index: int) -> State:
    """A replica's state, whether it votes or not."""
    return mill.services[index].stint.standing.replica.state


def role(mill: Mill, index: int) -> str:
    """Its part in the federation."""
    return str(mill.services[index].stint.standing.standing()["role"])


def votes_in(mill: Mill, index: int) -> int | None:
    """The epoch that a replica votes in; None at an observer."""
    stint = mill.services[index].stint
    return stint.runtime.replica.epoch if isinstance(stint, MemberStint) else None


async def test_a_member_is_replaced_while_cycles_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, 4, OFTEN) as mill:
        await mill.until(lambda: mill.state().federation_key)
        key = mill.state().federation_key
        assert key is not None
        member = newcomer(mill, tmp_path / "new", "eve")
        await mill.start(4)
        await mill.until(lambda: seen(mill, 4).sequence > 0)
        assert role(mill, 4) == "observer"
        await change(mill, (0, 1, 2), (*mill.genesis.members[:3], member))
        await mill.until(lambda: all(seen(mill, index).epoch == 1 for index in range(5)))
        await mill.until(lambda: role(mill, 4) == "member")
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state(4).cycle > cycle + 2)
        after = mill.state(4).federation_key
        assert after is not None and after.key == key.key and after.commitments != key.commitments
        bls.verify(key.key, after.activation, after.message)
        await mill.until(lambda: mill.services[4].runtime.replica.has_share)
        async with FederationClient(mill.genesis) as client:
            assert mill.urls[3] in client.urls
            assert await client.follow() == 1
            assert client.urls == (*mill.urls[:3], f"http://{member.api.decode()}")
        await mill.stop(2)  # the new one's vote is needed from here on
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state().cycle > cycle + 2)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resharing waits for nobody longer than a test can."""
    for phase in RESHARING_MS:
        monkeypatch.setitem(RESHARING_MS, phase, 1_500)


async def refresh(mill: Mill, *by: int) -> None:
    """The same members, fresh key shares."""
    await change(mill, by, seen(mill, by[0]).members)


@pytest.mark.usefixtures("impatient")
async def test_a_member_that_was_away_goes_on_in_the_epoch_that_runs(tmp_path: Path) -> None:
    """Scenario 78: one epoch behind, its peers show it the end; two behind, it reads the log."""
    async with running(tmp_path, 4, OFTEN) as mill:
        await mill.until(lambda: mill.state().federation_key)
        await refresh(mill, 0, 1, 3)
        await mill.until(lambda: seen(mill, 0).successor or seen(mill, 0).epoch == 1)
        await mill.stop(2)
        await mill.until(lambda: all(votes_in(mill, index) == 1 for index in (0, 1, 3)))
        await mill.start(2)
        await mill.until(lambda: votes_in(mill, 2) == 1)
        await mill.stop(2)
        for epoch in (2, 3):
            await refresh(mill, 0, 1, 3)
            await mill.until(lambda epoch=epoch: all(votes_in(mill, i) == epoch for i in (0, 1, 3)))
        await mill.start(2)
        await mill.until(lambda: votes_in(mill, 2) == 3)
        cycle = mill.state().cycle
        await mill.stop(1)  # so that the late one is needed
        await mill.until(lambda: mill.state().cycle > cycle + 2)
        assert seen(mill, 0).transcript.holders == (0, 1, 3)  # it got no share, and votes


@pytest.mark.usefixtures("impatient")
async def test_a_replica_killed_in_the_middle_of_a_resharing_takes_part_again(
    tmp_path: Path,
) -> None:
    """Its seed was durable before it said anything."""
    async with running(tmp_path, 4, OFTEN) as mill:
        await mill.until(lambda: mill.state().federation_key)
        await refresh(mill, 0, 1, 2)
        await mill.until(lambda: (c := seen(mill, 3).change) is not None and c.transcript)
        await mill.stop(3)
        await mill.start(3)
        await mill.until(lambda: all(votes_in(mill, index) == 1 for index in range(4)))
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state().cycle > cycle + 2)
