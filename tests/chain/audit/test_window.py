"""The auditor's window of executed requests agrees with the machine's client table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.ordering.request import CLIENTS_MAX, CSEQ_WINDOW
from bft.pbft.clients import ClientTable
from chain.audit.window import RequestWindow

CLIENT = b"\x02" + bytes(32)


def client(number: int) -> bytes:
    return b"\x02" + number.to_bytes(32, "big")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * CSEQ_WINDOW), st.booleans())))
def test_both_say_the_same_of_every_request(requests: list[tuple[int, int, bool]]) -> None:
    window, table = RequestWindow(), ClientTable()
    for sequence, (number, cseq, accepted) in enumerate(requests, 1):
        fresh = window.fresh(client(number), cseq)
        assert fresh == table.fresh(client(number), cseq)
        if fresh and accepted:
            window.mark(client(number), cseq)
            table.mark(client(number), cseq, sequence)


@pytest.mark.parametrize(
    ("below", "fresh"), [(0, False), (1, True), (CSEQ_WINDOW - 1, True), (CSEQ_WINDOW, False)]
)
def test_a_late_request_is_fresh_within_the_window_only(below: int, fresh: bool) -> None:
    window = RequestWindow()
    window.mark(CLIENT, 1_000)
    assert window.fresh(CLIENT, 1_000 - below) is fresh


def test_a_refused_request_may_come_again() -> None:
    window = RequestWindow()
    assert window.fresh(CLIENT, 5) and window.fresh(CLIENT, 5)


def test_the_client_that_was_silent_longest_is_forgotten_first() -> None:
    window, table = RequestWindow(), ClientTable()
    for number in (*range(CLIENTS_MAX), 0, CLIENTS_MAX):
        cseq = 1 if window.fresh(client(number), 1) else 2
        window.mark(client(number), cseq)
        table.mark(client(number), cseq, 1)
    for number in (0, 1, 2, CLIENTS_MAX):
        assert window.fresh(client(number), 1) == table.fresh(client(number), 1) == (number == 1)
