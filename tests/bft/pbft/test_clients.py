"""At-most-once: the sliding window of each client."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import DecodeError
from bft.pbft import clients
from bft.pbft.clients import CSEQ_WINDOW, ClientEntry, ClientTable

A, B = b"\x02" + bytes(32), b"\x03" + bytes(32)


def test_a_number_is_fresh_once() -> None:
    table = ClientTable()
    assert table.fresh(A, 5)
    table.mark(A, 5, 1)
    assert not table.fresh(A, 5)
    assert table.fresh(B, 5)


def test_numbers_inside_the_window_may_come_in_any_order() -> None:
    table = ClientTable()
    for cseq in (100, 37, 99, 101):
        assert table.fresh(A, cseq)
        table.mark(A, cseq, 1)
    assert not table.fresh(A, 37)


def test_the_window_ends_64_below_the_highest() -> None:
    table = ClientTable()
    table.mark(A, 100, 1)
    assert table.fresh(A, 100 - CSEQ_WINDOW + 1)
    assert not table.fresh(A, 100 - CSEQ_WINDOW)


def test_a_client_may_jump_ahead_as_far_as_it_likes() -> None:
    table = ClientTable()
    table.mark(A, 1, 1)
    table.mark(A, 2**63 - 1, 2)
    assert not table.fresh(A, 1)
    assert table.fresh(A, 2**63 - 2)


def test_marking_twice_is_our_own_bug() -> None:
    table = ClientTable()
    table.mark(A, 1, 1)
    with pytest.raises(AssertionError):
        table.mark(A, 1, 2)


@given(st.lists(st.integers(0, 200), max_size=150))
def test_the_window_never_lets_a_number_pass_twice(numbers: list[int]) -> None:
    table, executed = ClientTable(), set()
    for cseq in numbers:
        fresh = table.fresh(A, cseq)
        assert fresh == (cseq not in executed and cseq > max(executed, default=0) - CSEQ_WINDOW)
        if fresh:
            table.mark(A, cseq, 1)
            executed.add(cseq)
    assert ClientTable.decode(table.encode()).encode() == table.encode()
    assert all(not ClientTable.decode(table.encode()).fresh(A, c) for c in executed)


def test_the_least_recently_executed_client_is_forgotten_first(monkeypatch: Any) -> None:
    monkeypatch.setattr(clients, "CLIENTS_MAX", 2)
    table = ClientTable()
    third = b"\x02" + bytes([1]) * 32
    table.mark(A, 1, 1)
    table.mark(B, 1, 2)
    table.mark(A, 2, 3)
    table.mark(third, 1, 4)
    assert len(table) == 2
    assert not table.fresh(A, 2)
    assert table.fresh(B, 1)


def test_a_copy_is_independent() -> None:
    table = ClientTable()
    table.mark(A, 1, 1)
    other = table.copy()
    other.mark(A, 2, 2)
    assert table.fresh(A, 2)


def test_noise_is_no_table() -> None:
    with pytest.raises(DecodeError):
        ClientTable.decode(b"noise")


def test_a_table_has_one_encoding() -> None:
    """Found by fuzzing: bits beyond the window, and one client twice, were read and lost."""
    entry = ClientEntry(client=b"\x02" * 33, high=5, bits_low=1, bits_high=0, sequence=1)
    table = ClientTable()
    table.mark(entry.client, 5, 1)
    for entries in (
        (replace(entry, bits_high=2**32),),
        (replace(entry, bits_low=2**32),),
        (entry, entry),
    ):
        with pytest.raises(DecodeError):
            ClientTable.decode(encode((entries,)))
    assert ClientTable.decode(encode(((entry,),))).encode() == table.encode()
