"""A mirror of the published files is audited like a replica; what is wrong in it is named."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from chain.audit.mirror import Mirror
from chain.federation.api import LOG_FILES
from chain.records.score_log import (
    TREE_ENTRY_BYTES_MAX,
    CycleClosed,
    LogEntry,
    Ordered,
    decode_leaf,
    encode_leaf,
)
from chain.tlog.note import Note, decode_note
from chain.tlog.tiles import TILE_WIDTH, bundle_path, leaf_path, proofs_path, tile_path
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import Answer, log_answers, served
from tests.chain.tlog.publishing import mill, publish, sealed_keys, write, write_entries


def published(home: Path, replicas: tuple[int, ...] = (0, 1, 2), entries: int | None = None) -> int:
    """The mill's log in files, whole or so many of its entries; its size."""
    made = mill()
    keys = [made.replicas[index].public_key.hex() for index in range(4)]
    write(home, [("genesis", encode(made.genesis))])
    write(home, [(f"keys/{key}", sealed_keys(made, n)) for n, key in enumerate(keys)])
    return publish(home, made, replicas, certified=False, entries=entries).size


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    published(path)
    return path


def files(home: Path, prefix: str = "") -> Callable[[str], Answer]:
    """A plain web server's answers."""

    def answer(target: str) -> Answer:
        path = home / target.removeprefix(prefix + "/")
        if not target.startswith(prefix) or not path.is_file():
            return 404, {}, b"not found"
        return 200, {}, path.read_bytes()

    return answer


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    """Exit status and the JSON report."""
    status = main(["audit", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)["data"]


def rules(report: dict[str, object]) -> list[str]:
    found = report["findings"]
    assert isinstance(found, list)
    return [finding["rule"] for finding in found]


def test_a_directory_of_files_is_a_log(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(home)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("cosigned by 3 of 4 replicas (0, 1, 2)")
    assert lines[-1] == "PASSED: everything follows from the genesis record and signed entries"


@pytest.mark.parametrize(("replicas", "status"), [((0, 1, 2), 0), ((0, 1), 6)])
def test_a_mirror_may_end_within_a_batch_where_a_quorum_cosigned_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], replicas: tuple[int, ...], status: int
) -> None:
    """As behind a cycle's end, when the next one begins in the same batch; and then it goes on."""
    kinds = [type(decode_leaf(entry.leaf)) for entry in mill().entries]
    within = kinds.index(CycleClosed)  # what follows from its batch is not here
    mirror, state = tmp_path / "mirror", tmp_path / "state"
    published(mirror, replicas, within)
    options = [str(mirror), "--state", str(state)] if status == 0 else [str(mirror)]
    assert told(capsys, *options)[0] == status
    if status == 0:
        published(mirror)
        answer, report = told(capsys, str(mirror), "--state", str(state))
        assert answer == 0 and report["entries"] == len(mill().entries)


def test_any_web_server_can_mirror_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(files(home, "/some/where")) as url:
        status, report = told(capsys, "--from", url + "/some/where")
    assert status == 0 and report["entries"] == len(mill().entries)


def test_a_replicas_checkpoint_is_held_against_its_entries(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = mill()
    log = log_answers(encode(made.genesis), made.entries)

    def answer(target: str) -> Answer:
        return files(home, LOG_FILES)(target) if target.startswith(LOG_FILES) else log(target)

    with served(answer) as url:
        status, report = told(capsys, "--from", url)
        assert status == 0 and "'cosigners': [0, 1, 2]" in str(report["checkpoints"])
        last = LogEntry(index=len(made.entries) - 1, leaf=made.entries[-2].leaf, proof=b"")
        other = [*made.entries[:-1], last]
        publish_other(home, other)
        status, report = told(capsys, "--from", url)
    assert status == exits.VERIFICATION_FAILED and rules(report) == ["checkpoint"]


def publish_other(home: Path, entries: list[LogEntry]) -> None:
    """A checkpoint over other entries, correctly signed: the replicas lied."""
    made = mill()
    before, made.entries = made.entries, entries
    try:
        publish(home, made, (0, 1, 2), certified=False)
    finally:
        made.entries = before


def test_a_checkpoint_needs_a_strong_quorum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path, (0, 1))
    status, report = told(capsys, str(tmp_path))
    assert status == exits.VERIFICATION_FAILED and rules(report) == ["checkpoint"]
    assert "2 of 4 replicas cosigned" in str(report["findings"])


def test_keys_that_a_replica_did_not_sign_count_for_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = mill()
    keys = [made.replicas[index].public_key.hex() for index in range(4)]
    shutil.copy(home / "keys" / keys[3], home / "keys" / keys[1])
    status, report = told(capsys, str(home))
    assert status == exits.VERIFICATION_FAILED and rules(report) == ["checkpoint"]


def test_a_checkpoint_is_published_by_a_member(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = decode_note((home / "checkpoint").read_bytes())
    (home / "checkpoint").write_bytes(Note(note.text, note.lines[1:]).encode())
    status, report = told(capsys, str(home))
    assert status == exits.VERIFICATION_FAILED and rules(report) == ["checkpoint"]
    assert "no member's log key signed the checkpoint" in str(report["findings"])


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (bundle_path, "checkpoint"),
        (lambda n, w: tile_path(0, n, w), "tile"),
        (proofs_path, "proof"),
    ],
)
def test_one_changed_byte_is_found(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    name: Callable[[int, int], str],
    rule: str,
) -> None:
    path = home / name(0, len(mill().entries))
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    status, report = told(capsys, str(home))
    assert status == exits.VERIFICATION_FAILED and rule in rules(report)


def test_a_cut_bundle_is_an_entry_that_cannot_be_read(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / bundle_path(0, len(mill().entries))
    path.write_bytes(path.read_bytes()[:-1])
    status, report = told(capsys, str(home))
    assert status == exits.VERIFICATION_FAILED and rules(report)[0] == "entry"


def test_a_checkpoint_that_is_too_old_fails_where_that_is_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cosignatures here are of 2027, so no clock that is right finds them old."""
    status, report = told(capsys, str(home), "--max-age=-999999999")
    assert status == exits.VERIFICATION_FAILED and rules(report) == ["stale"]


def test_a_long_leaf_is_read_by_its_digest(tmp_path: Path) -> None:
    leaf = encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes(TREE_ENTRY_BYTES_MAX)))
    entry = LogEntry(index=0, leaf=leaf, proof=b"proof")
    write_entries(tmp_path, [entry])

    def read(name: str) -> bytes:
        return (tmp_path / name).read_bytes()

    mirror = Mirror(1, bytes(32), read)
    assert list(mirror.entries()) == [encode(entry)] and not mirror.findings
    write(tmp_path, [(leaf_path(sha256(leaf)), leaf[:-1])])
    assert list(Mirror(1, bytes(32), read).entries()) != [encode(entry)]


def test_the_policy_names_the_members_as_cosigners(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "policy", str(home)]) == 0
    out = capsys.readouterr().out
    assert out.count("witness replica-") == 4 and out.endswith("quorum federation\n")


LONG = 3 * TILE_WIDTH + 5
"""Entries of a log of which only the tree matters."""


@cache
def long_log() -> tuple[LogEntry, ...]:
    return tuple(
        LogEntry(index=n, leaf=encode_leaf(Ordered(sequence=n, agreed_ms=n, batch=b"")), proof=b"")
        for n in range(LONG)
    )


@pytest.mark.parametrize("first", [1, TILE_WIDTH - 1, TILE_WIDTH, 2 * TILE_WIDTH + 7, LONG - 1])
def test_only_the_files_of_new_entries_are_read(tmp_path: Path, first: int) -> None:
    root = write_entries(tmp_path, long_log()).root()
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return (tmp_path / name).read_bytes()

    mirror = Mirror(LONG, root, read)
    assert list(mirror.entries(first)) == [encode(entry) for entry in long_log()[first:]]
    assert not mirror.findings
    bundles = [name for name in asked if name.startswith("tile/entries/")]
    assert len(bundles) == 4 - first // TILE_WIDTH


def test_tiles_of_another_past_do_not_lead_to_the_checkpoint(tmp_path: Path) -> None:
    """The hash of the first 256 entries is another; none of these entries is read."""
    root = write_entries(tmp_path, long_log()).root()
    path = tmp_path / tile_path(1, 0, 3)
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    mirror = Mirror(LONG, root, lambda name: (tmp_path / name).read_bytes())
    assert len(list(mirror.entries(2 * TILE_WIDTH))) == LONG - 2 * TILE_WIDTH
    assert "the checkpoint says" in mirror.findings[-1].text


def test_a_mirror_is_read_from_where_the_last_audit_came_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, state = tmp_path / "mirror", str(tmp_path / "state")
    published(home)
    with served(files(home)) as url:
        assert told(capsys, "--from", url, "--state", state, "--no-archive")[0] == 0
        assert told(capsys, "--from", url, "--state", state, "--no-archive")[0] == 0
        publish_other(home, mill().entries[:-2])
        status, report = told(capsys, "--from", url, "--state", state, "--no-archive")
    assert status == exits.VERIFICATION_FAILED and "shorter" in rules(report)


def test_a_directory_without_a_log_is_wrong_input(tmp_path: Path) -> None:
    assert main(["audit", str(tmp_path)]) == exits.CONFIG
