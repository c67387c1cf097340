"""What a replica sees around it: its clock beside the others', the quorum, its etcd."""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bft import quorum
from bft.errors import ConfigError
from chain.records.federation import MemberRecord
from chain.release import UNKNOWN, release
from coordinator import ask
from coordinator.config import Setup
from coordinator.service.journal import JournalError
from coordinator.service.reader import JournalReader
from coordinator.service.tenure import open_etcd
from deploy.lease import holder_of, key_prefix

SKEW_MS_MAX = 2_000
RELEASE_LETTERS_MAX = 40

Told = tuple[str, bool, str]
"""(name, whether it is well, text)"""


def others(setup: Setup) -> Iterator[Told]:
    """Whether the others answer, are of this chain, have this time, and are enough for a quorum."""
    members = present_members(setup)
    keys = [member.key for member in members]
    is_member = setup.identity.public_key in keys
    own = keys.index(setup.identity.public_key) if is_member else None
    named = [one for one in enumerate(ask.urls_of(members)) if one[0] != own]
    told = ask.statuses([url for _, url in named])
    statuses = {index: status for (index, _), status in zip(named, told, strict=True)}
    skews = {
        index: skew_of(status) for index, status in statuses.items() if _is_ours(status, setup)
    }
    offset_ms = round(statistics.median(skews.values())) if skews else 0
    if skews:
        yield clock(offset_ms, len(skews))
    yield margin(len(members), len(skews), is_member)
    for index, status in statuses.items():
        yield peer(index, status, skews.get(index))


def present_members(setup: Setup) -> Sequence[MemberRecord]:
    """The members as far as this replica's journal has followed them; at first the founders."""
    if not setup.home.journal.is_file():
        return setup.genesis.members
    reader = JournalReader(setup.home.journal)
    try:
        noted = reader.epoch()
    except JournalError:
        return setup.genesis.members  # a damaged journal has a finding of its own
    finally:
        reader.close()
    return setup.genesis.members if noted is None else noted.members


def clock(offset_ms: int, peers: int) -> Told:
    """This machine's clock beside the median of the others': if it is wrong, all peers look so."""
    if abs(offset_ms) <= SKEW_MS_MAX:
        return "clock", True, f"{offset_ms} ms from the median of {peers} peers"
    ahead = "ahead of" if offset_ms > 0 else "behind"
    text = f"{abs(offset_ms) / 1000:.1f} s {ahead} the median of {peers} peers"
    return "clock", False, f"{text}; {SKEW_MS_MAX / 1000:.0f} s are borne"


def margin(members: int, answering: int, member: bool) -> Told:
    """How many more may fail before nothing is decided; this replica counts as one that is up."""
    up, needed = answering + member, quorum.strong(members)
    text = f"{up} of {members} with this one, {needed} decide"
    if up < needed:
        return "quorum", False, f"{text}: {needed - up} too few"
    return "quorum", True, f"{text}: {up - needed} to spare"


def skew_of(status: dict[str, Any]) -> int:
    """Our clock less the one in a status, milliseconds."""
    return time.time_ns() // 1_000_000 - int(status.get("wall_ms", 0))


def etcd(setup: Setup) -> str:
    """Who holds this replica's key in the etcd of the settings.  Raises FederationError."""
    standby = setup.config.standby
    if standby is None:
        raise ConfigError("replica.yaml names no etcd")
    with open_etcd(setup, standby) as client:
        prefix = key_prefix(setup.genesis.chain_id, setup.identity.public_key)
        holder = holder_of(client, prefix)
    return f"{', '.join(standby.etcd)} answers; {holder or 'nobody'} holds the key"


def _is_ours(status: dict[str, Any], setup: Setup) -> bool:
    return "error" not in status and status.get("chain_id") == setup.genesis.chain_id.hex()


def peer(index: int, status: dict[str, Any], skew_ms: int | None) -> Told:
    name = f"peer {index}"
    if "error" in status:
        return name, False, str(status["error"])
    if skew_ms is None:
        return name, False, f"{status['url']} is of another chain"
    text = f"{status['url']} answers; its clock differs by {skew_ms} ms"
    theirs, ours = str(status.get("release", UNKNOWN))[:RELEASE_LETTERS_MAX], release()
    if theirs != ours:
        text += f"; it runs version {theirs}, this one {ours}"
    return name, abs(skew_ms) <= SKEW_MS_MAX, text
