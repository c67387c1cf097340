"""examples/audit-log follows a whole log as we do, in JavaScript and from the documents alone."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.audit.replay import audit
from chain.records.score_log import Assigned, LogEntry, decode_leaf
from tests.chain.audit.mill import Mill
from tests.coordinator.cycle.test_barring import STRANGER, caught, final
from tests.interop.logs import archive, command
from tests.interop.tools import needs_node, node

pytestmark = needs_node


async def audited(home: Path, *logs: Path) -> list[dict[str, Any]]:
    told = await node(*command(home, *logs))
    assert told["wrong"] == [], "what the vectors say of names, addresses and lists"
    found: list[dict[str, Any]] = told["logs"]
    return found


def flipped(entry: LogEntry, field: str, place: int) -> LogEntry:
    data = bytearray(getattr(entry, field))
    data[place] ^= 1
    return replace(entry, **{field: bytes(data)})


def spoilt(mill: Mill) -> dict[str, list[LogEntry]]:
    """Copies of its log that are not what the federation ordered, by what was done to them."""
    entries = mill.entries
    kinds = [type(decode_leaf(entry.leaf)) for entry in entries]
    assigned = kinds.index(Assigned)
    return {
        "a vote": [flipped(entries[0], "proof", -1), *entries[1:]],
        "a batch": [flipped(entries[0], "leaf", -1), *entries[1:]],
        "a unit": [
            *entries[:assigned],
            flipped(entries[assigned], "leaf", -1),
            *entries[assigned + 1 :],
        ],
        "a leaf left out": [*entries[:assigned], *entries[assigned + 1 :]],
        "its end": entries[:assigned],
    }


async def test_a_whole_log_is_followed_and_no_altered_copy_is(
    tmp_path: Path,
) -> None:
    """A cycle with its block, and evidence against the winner."""
    mill = final(caught())
    mill.say(STRANGER, mill.evidence)
    mill.register()
    genesis = encode(mill.genesis)
    copies = {"none": mill.entries, **spoilt(mill)}
    paths = [
        archive(tmp_path / f"{number}.grist", genesis, entries)
        for number, entries in enumerate(copies.values())
    ]
    whole, *others = await audited(tmp_path, *paths)
    assert whole["ok"], whole
    assert (whole["height"], whole["cycle"]) == (1, 2)
    root = audit(genesis, mill.entries).log_root
    assert root is not None and whole["root"] == root.hex()
    assert [each["ok"] for each in others] == [False] * 5, dict(zip(copies, others, strict=False))
