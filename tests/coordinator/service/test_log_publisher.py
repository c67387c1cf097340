"""The log is published as tiles under checkpoints that a strong quorum cosigned."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.crypto.merkle import merkle_root
from bft.errors import DecodeError
from chain.federation.api import LOG_FILES
from chain.records.score_log import LogEntry
from chain.tlog.checkpoint import (
    Checkpoint,
    cosign,
    decode_checkpoint,
    verify_certificate_line,
    verify_line,
)
from chain.tlog.keys import open_keys
from chain.tlog.note import COSIGNATURE_V1, Signer, decode_note
from chain.tlog.tiles import TileTree, bundle_path, decode_bundle, widths
from coordinator.log_keys import LogSigners
from coordinator.service import log_publisher
from coordinator.service.log_files import LogFiles
from coordinator.service.log_publisher import Peer, Publisher
from coordinator.service.witness import Witness
from tests.chain.audit.mill import Mill
from tests.coordinator.service.mill import BUSY, running
from tests.patience import PATIENCE_S


class Log:
    """The entries of a mill, as far as a replica has them."""

    def __init__(self, entries: list[LogEntry], page: int = 7) -> None:
        self.entries_held, self._page = entries, page

    async def entries(self, first: int) -> tuple[LogEntry, ...]:
        return tuple(self.entries_held[first : first + self._page])


class Members:
    """Four publishers of one log that hear each other; `away` ones do not answer."""

    def __init__(self, home: Path, mill: Mill, away: frozenset[int] = frozenset()) -> None:
        self.mill, self.away = mill, away
        self.signers = [LogSigners(mill.rules.chain_id, key) for key in mill.replicas]
        self.files = [LogFiles(home / str(index)) for index in range(4)]
        self.logs = [Log(mill.entries) for _ in range(4)]
        self.publishers = [self.make(index) for index in range(4)]

    def make(self, index: int, witnesses: Sequence[Witness] = ()) -> Publisher:
        keys = [signers.keys.replica for signers in self.signers]
        made = self.mill.state.federation_key
        publisher = Publisher(
            self.files[index],
            self.logs[index],
            self.mill.state.membership,
            self.signers[index],
            [Peer(key, f"{place}") for place, key in enumerate(keys) if place != index],
            self.fetch,
            lambda: None if made is None else made.key,
            witnesses,
        )
        publisher.open()
        return publisher

    async def fetch(self, url: str, bytes_max: int) -> bytes | None:
        place, _, name = url.partition(LOG_FILES + "/")
        if int(place) in self.away:
            return None
        if name.startswith("cosignatures/"):
            line = self.publishers[int(place)].cosignature(int(name.partition("/")[2]))
            return None if line is None else line.encode().encode()
        try:
            return self.files[int(place)].read(name)
        except DecodeError:
            return None

    async def publish(self) -> None:
        for publisher in self.publishers:
            await publisher.build()
        await asyncio.gather(
            *(p.publish() for index, p in enumerate(self.publishers) if index not in self.away)
        )


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes late here."""
    monkeypatch.setattr(log_publisher, "GATHER_S", 0.2)
    monkeypatch.setattr(log_publisher, "GRACE_S", 0.0)


def held(files: LogFiles, checkpoint: Checkpoint) -> list[bytes]:
    """All entries that the files hold under a checkpoint."""
    return [
        entry
        for number, width in widths(checkpoint.size)
        for entry in decode_bundle(files.read(bundle_path(number, width)), width)
    ]


async def test_checkpoints_are_cosigned_and_lead_to_the_entries(tmp_path: Path) -> None:
    members = Members(tmp_path, Mill().found().cycle())
    await members.publish()
    for files in members.files:
        note = decode_note(files.read("checkpoint"))
        checkpoint = decode_checkpoint(note.text)
        assert checkpoint.size == len(members.mill.entries)
        assert merkle_root(held(files, checkpoint)) == checkpoint.root
        signed = [
            signers
            for signers in members.signers
            for line in note.lines
            if signers.cosigner.verifier.signed(line)
            and verify_line(checkpoint, line, signers.cosigner.verifier)
        ]
        assert len(signed) == 4
        assert TileTree.load(checkpoint.size, files.read).root() == checkpoint.root


async def test_the_federations_own_line_stands_under_what_it_certified(tmp_path: Path) -> None:
    members = Members(tmp_path, Mill().found().cycle())
    await members.publish()
    note = decode_note(members.files[0].read("certified"))
    checkpoint = decode_checkpoint(note.text)
    made = members.mill.state.federation_key
    assert made is not None
    verify_certificate_line(checkpoint, note.lines[-1], made.key, members.mill.rules.chain_id)
    assert merkle_root(held(members.files[0], checkpoint)) == checkpoint.root


async def test_without_a_strong_quorum_nothing_is_published(tmp_path: Path) -> None:
    members = Members(tmp_path, Mill().found().cycle(), frozenset({1, 2}))
    await members.publish()
    with pytest.raises(DecodeError, match="missing"):
        members.files[0].read("checkpoint")
    members.away = frozenset({1})
    await members.publish()
    assert decode_note(members.files[0].read("checkpoint"))


async def test_a_member_that_holds_another_log_is_not_counted(tmp_path: Path) -> None:
    """Its line is over another root, so it does not stand under ours."""
    members = Members(tmp_path, Mill().found().cycle(), frozenset({3}))
    first, *rest = members.mill.entries
    changed = replace(first, leaf=first.leaf[:-1] + bytes([first.leaf[-1] ^ 1]))
    members.logs[2].entries_held = [changed, *rest]
    await members.publish()
    with pytest.raises(DecodeError, match="missing"):
        members.files[0].read("checkpoint")
    size = len(members.mill.entries)
    mine, theirs = members.publishers[0].cosignature(size), members.publishers[2].cosignature(size)
    assert mine is not None and theirs is not None


async def test_a_restarted_publisher_goes_on_from_its_files(tmp_path: Path) -> None:
    mill = Mill().found().cycle()
    members = Members(tmp_path, mill)
    await members.publish()
    first = members.publishers[0].published
    mill.cycle().cycle()
    again = members.publishers[0] = members.make(0)
    assert again.published == first
    await members.publish()
    assert again.published == len(mill.entries)
    files = members.files[0]
    checkpoint = decode_checkpoint(decode_note(files.read("checkpoint")).text)
    assert merkle_root(held(files, checkpoint)) == checkpoint.root


async def test_damaged_files_are_written_again_from_the_log(tmp_path: Path) -> None:
    mill = Mill().found().cycle()
    members = Members(tmp_path, mill)
    await members.publish()
    size = members.publishers[0].published
    name = bundle_path(0, size)
    data = bytearray(members.files[0].read(name))
    data[-1] ^= 1
    members.files[0].write([(name, bytes(data))])
    again = members.publishers[0] = members.make(0)
    assert again.published == 0
    await again.build()
    await again.publish()
    checkpoint = decode_checkpoint(decode_note(members.files[0].read("checkpoint")).text)
    assert merkle_root(held(members.files[0], checkpoint)) == checkpoint.root


async def test_partial_files_of_long_ago_are_deleted(tmp_path: Path) -> None:
    mill = Mill().found()
    members = Members(tmp_path, mill)
    for _ in range(8):
        mill.cycle()
        await members.publish()
    partial = [p for p in (tmp_path / "0").rglob("*") if p.is_file() and p.parent.suffix == ".p"]
    sizes = {path.name for path in partial}
    assert str(members.publishers[0].published % 256) in sizes
    assert len(partial) <= 3 * (log_publisher.PUBLICATIONS_KEPT + 2)


def test_keys_are_the_identitys_and_the_chains() -> None:
    mill = Mill()
    key = mill.replicas[0]
    one, same = LogSigners(bytes(32), key), LogSigners(bytes(32), key)
    other, later = LogSigners(bytes(32), mill.replicas[1]), LogSigners(b"\x01" * 32, key)
    assert one.keys == same.keys
    found = [each for s in (one, other, later) for each in (s.keys.log_key, s.keys.cosigner_key)]
    assert len(set(found)) == len(found)
    assert open_keys(one.statement, bytes(32), key.public_key) == one.keys


async def test_replicas_publish_over_http(tmp_path: Path) -> None:
    """Four real replicas: each serves a checkpoint that the others cosigned."""
    async with running(tmp_path, 4, BUSY) as mill, aiohttp.ClientSession() as session:
        url = mill.urls[2] + LOG_FILES
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with session.get(url + "/checkpoint") as answer:
                    if answer.status == 200:
                        note = decode_note(await answer.read())
                        break
                await asyncio.sleep(0.05)
        checkpoint = decode_checkpoint(note.text)
        cosigners = 0
        for member in mill.genesis.members:
            async with session.get(f"{url}/keys/{member.key.hex()}") as answer:
                if answer.status != 200:
                    continue
                keys = open_keys(await answer.read(), mill.genesis.chain_id, member.key)
            for line in note.lines:
                if keys.cosigner.signed(line):
                    cosigners += verify_line(checkpoint, line, keys.cosigner) is not None
        assert cosigners >= 3
        for name, status in (("../journal.db", 404), ("tile/9/000", 404), ("genesis", 200)):
            async with session.get(f"{url}/{name}") as answer:
                assert answer.status == status, name


async def test_a_witness_outside_signs_under_the_checkpoint(tmp_path: Path) -> None:
    """It answers with the size that it has, and signs what goes on from there."""
    members = Members(tmp_path, Mill().found().cycle())
    outside = Signer("witness.example", COSIGNATURE_V1, bytes(range(32)))
    asked: list[str] = []

    async def answer(url: str, body: bytes) -> tuple[int, bytes]:
        head, _, note = body.partition(b"\n\n")
        asked.append(head.decode().splitlines()[0])
        if asked == ["old 0"]:
            return 409, b"3\n"
        checkpoint = decode_checkpoint(decode_note(note).text)
        return 200, cosign(checkpoint, outside, 1_800_000_000).encode().encode()

    witness = Witness("https://witness.example", outside.verifier, answer)
    members.publishers[0] = members.make(0, [witness])
    await members.publish()
    note = decode_note(members.files[0].read("checkpoint"))
    assert asked[:2] == ["old 0", "old 3"]
    (line,) = [line for line in note.lines if outside.verifier.signed(line)]
    assert verify_line(decode_checkpoint(note.text), line, outside.verifier)


@pytest.mark.parametrize("answer", [(200, b"no line\n"), (422, b""), (409, b"x"), (200, b"\xff")])
async def test_a_witness_that_does_not_sign_keeps_nothing_back(
    tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    members = Members(tmp_path, Mill().found().cycle())

    async def refuse(url: str, body: bytes) -> tuple[int, bytes]:
        return answer

    verifier = Signer("witness.example", COSIGNATURE_V1, bytes(32)).verifier
    members.publishers[0] = members.make(0, [Witness("https://w.example", verifier, refuse)])
    await members.publish()
    assert members.publishers[0].published == len(members.mill.entries)
