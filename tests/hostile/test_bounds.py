"""Every bound of a record's field, found by its type: at the bound it is read, one past it refused.

And the bounds on whole inputs that no type can state.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import replace

from bft.codec.canonical import RECORD_BYTES_MAX, Record, decode, encode
from bft.errors import Busy, DecodeError
from bft.ordering.batch import BATCH_BYTES_MAX, Batch, decode_batch
from bft.ordering.request import REQUEST_BYTES_MAX, open_request, seal_request
from bft.pbft.messages import FRAME_BYTES_MAX, Frame, open_message
from chain.records import transaction as transactions
from chain.records.block import CERTIFIED_HEADER_BYTES_MAX, decode_certified_header
from chain.records.evidence import EVIDENCE_BYTES_MAX, decode_evidence
from chain.records.operations import decode_operation
from chain.records.peer_message import USER_AGENT_BYTES_MAX, Version, decode_version
from chain.records.score_log import ENTRY_BYTES_MAX, Ordered, decode_leaf, encode_leaf
from chain.records.serialization import Reader, compact_size
from chain.records.transaction import Transaction, TxIn, TxOut, decode_transaction
from chain.validation import (
    CONTRIBUTION_BYTES_MAX,
    CONTRIBUTION_PROOF_MAX,
    verify_contribution,
)
from coordinator.service.inbox import Inbox
from tests.bft.pbft.makers import FOUR
from tests.chain import federation_fixture as chain
from tests.fuzz.federation import KEY
from tests.fuzz.records import make_value, sample
from tests.fuzz.registry import tagged_records

Place = tuple[type[Record], str, Any]


def bounded_fields() -> Iterator[Place]:
    """(record, field, type) of every field that states a bound."""
    for kind in tagged_records().values():
        described = inspect.type_info(kind)
        assert isinstance(described, inspect.StructType)
        for field in described.fields:
            bounds = [getattr(field.type, name, None) for name in ("max_length", "le")]
            if bounds != [None, None]:
                yield kind, field.name, field.type


def largest(kind: Any, beyond: int) -> Any:
    """A value at the bound of its type, or so far beyond it."""
    if isinstance(kind, inspect.IntType):
        assert kind.le is not None
        return kind.le + beyond
    assert kind.max_length is not None
    if isinstance(kind, inspect.BytesType):
        return bytes(kind.max_length + beyond)
    item = make_value(kind.item_type, Random(1))
    return (item,) * (kind.max_length + beyond)


PLACES = tuple(bounded_fields())


@pytest.mark.parametrize(
    ("kind", "field", "described"), PLACES, ids=[f"{kind.TAG}.{field}" for kind, field, _ in PLACES]
)
def test_a_field_at_its_bound_is_read_and_one_past_it_is_refused(
    kind: type[Record], field: str, described: Any
) -> None:
    record = replace(sample(kind, 0), **{field: largest(described, 0)})
    assert decode(kind, encode(record)) == record
    try:
        beyond = encode(replace(record, **{field: largest(described, 1)}))
    except (msgspec.MsgspecError, OverflowError):
        return  # nobody can even write it
    with pytest.raises(DecodeError):
        decode(kind, beyond)


# Whole inputs.


def test_a_records_bytes_are_counted_before_they_are_parsed() -> None:
    record = Ordered(sequence=1, agreed_ms=1, batch=b"")
    overhead = len(encode(replace(record, batch=bytes(1 << 20)))) - (1 << 20)
    fitting = encode(replace(record, batch=bytes(RECORD_BYTES_MAX - overhead)))
    assert len(fitting) == RECORD_BYTES_MAX
    decode(Ordered, fitting)
    with pytest.raises(DecodeError, match="at most"):
        decode(Ordered, fitting + b"\x00")


def test_a_batchs_bytes_are_bounded() -> None:
    requests = (bytes(REQUEST_BYTES_MAX),) * 4
    spare = BATCH_BYTES_MAX - len(
        encode(Batch(timestamp_ms=0, requests=(*requests, bytes(1 << 17))))
    )
    data = encode(Batch(timestamp_ms=0, requests=(*requests, bytes((1 << 17) + spare))))
    assert len(data) == BATCH_BYTES_MAX
    decode_batch(data)
    longer = encode(Batch(timestamp_ms=0, requests=(*requests, bytes((1 << 17) + spare + 1))))
    with pytest.raises(DecodeError, match="at most"):
        decode_batch(longer)


def test_an_operations_bytes_are_bounded() -> None:
    for size, told in (
        (REQUEST_BYTES_MAX, "operation"),
        (REQUEST_BYTES_MAX + 1, "operation|length"),
    ):
        sealed = seal_request(chain.CHAIN_ID, KEY.public_key, 1, bytes(size), KEY.sign)
        if size <= REQUEST_BYTES_MAX:
            assert len(open_request(sealed, chain.CHAIN_ID).operation) == size
        else:
            with pytest.raises(DecodeError):
                open_request(sealed, chain.CHAIN_ID)
        with pytest.raises(DecodeError, match=f"(?i){told}|at most"):
            decode_operation(bytes(size))


def test_a_frames_bytes_are_bounded() -> None:
    with pytest.raises(DecodeError, match="not a Frame"):
        open_message(bytes(FRAME_BYTES_MAX), FOUR)
    with pytest.raises(DecodeError, match=f"{FRAME_BYTES_MAX + 1} bytes came"):
        open_message(bytes(FRAME_BYTES_MAX + 1), FOUR)
    assert Frame.__struct_fields__ == ("envelope", "attachment")


def test_a_leafs_bytes_are_bounded() -> None:
    leaf = encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes(1 << 20)))
    spare = ENTRY_BYTES_MAX - len(leaf)
    fitting = encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes((1 << 20) + spare)))
    assert len(fitting) == ENTRY_BYTES_MAX
    decode_leaf(fitting)
    with pytest.raises(DecodeError, match="at most"):
        decode_leaf(fitting + b"\x00")


def test_certified_headers_and_evidence_are_bounded() -> None:
    with pytest.raises(DecodeError, match="at most"):
        decode_certified_header(bytes(CERTIFIED_HEADER_BYTES_MAX + 1))
    with pytest.raises(DecodeError) as malformed:
        decode_certified_header(bytes(CERTIFIED_HEADER_BYTES_MAX))
    assert "at most 2048" not in str(malformed.value)
    with pytest.raises(DecodeError, match="at most"):
        decode_evidence(bytes(EVIDENCE_BYTES_MAX + 1))


def test_a_user_agent_is_bounded() -> None:
    def greeting(size: int) -> bytes:
        return Version(protocol=1, time=1, nonce=1, user_agent=bytes(size), height=1).encode()

    assert len(decode_version(greeting(USER_AGENT_BYTES_MAX)).user_agent) == USER_AGENT_BYTES_MAX
    with pytest.raises(DecodeError):
        decode_version(greeting(USER_AGENT_BYTES_MAX + 1))


def spending(
    *, script: int = 0, item: int = 1, items: int = 1, value: int = 1, pays: int = 0
) -> bytes:
    """A transaction with fields of these sizes."""
    witness = tuple(bytes(item) for _ in range(items))
    entry = TxIn(previous=bytes(32), index=0, script=bytes(script), witness=witness)
    output = TxOut(value=value, script=bytes(pays))
    return Transaction(version=1, inputs=(entry,), outputs=(output,), locktime=0).encode()


@pytest.mark.parametrize(
    ("field", "bound"),
    [
        ("script", transactions.SCRIPT_BYTES_MAX),
        ("pays", transactions.SCRIPT_BYTES_MAX),
        ("item", transactions.WITNESS_ITEM_BYTES_MAX),
        ("items", transactions.WITNESS_ITEMS_MAX),
        ("value", transactions.VALUE_MAX),
    ],
)
def test_a_transactions_fields_are_bounded(field: str, bound: int) -> None:
    data = spending(**{field: bound})
    assert decode_transaction(data).encode() == data
    with pytest.raises(DecodeError, match="at most"):
        decode_transaction(spending(**{field: bound + 1}))


def test_lists_of_a_block_are_bounded_by_number_and_by_the_bytes_that_are_there() -> None:
    assert Reader(compact_size(5) + bytes(5)).count(item_bytes_min=1, items_max=5) == 5
    for data, most in ((compact_size(6) + bytes(6), 5), (compact_size(6) + bytes(5), 9)):
        with pytest.raises(DecodeError, match="at most"):
            Reader(data).count(item_bytes_min=1, items_max=most)


def test_a_contributions_row_and_proof_are_bounded() -> None:
    certificate = chain.certificate_on(chain.START)
    row = bytes(10)
    for data, proof, told in (
        (bytes(CONTRIBUTION_BYTES_MAX + 1), [], "at most"),
        (bytes(CONTRIBUTION_BYTES_MAX), [], "not a ScoreRow"),
        (row, [bytes(32)] * (CONTRIBUTION_PROOF_MAX + 1), "not a ScoreRow|at most"),
    ):
        with pytest.raises(DecodeError, match=told):
            verify_contribution(data, 0, 1, proof, certificate)


def test_a_lane_holds_so_much_and_no_more() -> None:
    lane = Inbox[int]().lane(3)
    for item in range(3):
        lane.offer(item)
    with pytest.raises(Busy):
        lane.offer(3)
    assert len(lane) == 3
