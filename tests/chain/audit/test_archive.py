"""A log in a file: what was saved is what is read, and what is cut off is named."""

import io

import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.audit.archive import LENGTH_BYTES, MAGIC, frame, open_archive, saved, start_archive
from chain.audit.replay import LOG_ENTRY_BYTES_MAX, audit
from chain.records.federation import GENESIS_BYTES_MAX
from tests.chain.audit.mill import Mill


def archive(mill: Mill) -> bytes:
    file = io.BytesIO()
    start_archive(file, encode(mill.genesis))
    for _ in saved(file, [encode(entry) for entry in mill.entries]):
        pass
    return file.getvalue()


def test_an_archive_gives_back_what_was_saved() -> None:
    mill = Mill().found()
    genesis, entries = open_archive(io.BytesIO(archive(mill)))
    assert genesis == encode(mill.genesis)
    assert list(entries) == [encode(entry) for entry in mill.entries]


def test_a_log_that_is_saved_passes_on_its_way() -> None:
    file = io.BytesIO()
    assert list(saved(file, [b"one", b"two"])) == [b"one", b"two"]
    assert file.getvalue() == frame(b"one") + frame(b"two")


def test_an_archive_that_is_cut_off_within_an_entry_names_it() -> None:
    mill = Mill().found()
    whole = archive(mill)
    last = len(mill.entries) - 1
    for cut in (1, len(encode(mill.entries[last])), len(encode(mill.entries[last])) + 1):
        genesis, entries = open_archive(io.BytesIO(whole[:-cut]))
        report = audit(genesis, entries)
        assert (report.broken[0].rule, report.broken[0].entry) == ("entry", last)


def test_a_length_beyond_the_limit_is_not_read() -> None:
    mill = Mill()
    start = MAGIC + frame(encode(mill.genesis))
    too_long = (LOG_ENTRY_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "big")
    _, entries = open_archive(io.BytesIO(start + too_long + bytes(10)))
    assert list(entries) == [b""]
    longest = frame(bytes(LOG_ENTRY_BYTES_MAX))
    _, entries = open_archive(io.BytesIO(start + longest))
    assert [len(entry) for entry in entries] == [LOG_ENTRY_BYTES_MAX]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC[:-1],
        b"gristmill-log/2\n",
        MAGIC,
        MAGIC + frame(b"genesis")[:-1],
        MAGIC + (GENESIS_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "big"),
    ],
)
def test_what_is_no_archive_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ConfigError, match="archive"):
        open_archive(io.BytesIO(data))
