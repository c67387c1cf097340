"""A receipt convinces whoever holds the members' keys, and nothing else does."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.errors import BadSignature, DecodeError
from bft.membership import Membership
from chain.receipts import join_receipts, open_execution_receipt, verify_receipt
from chain.records.commands import COMMANDS_MAX
from chain.records.receipt import ExecutionReceipt, ReceiptSignature, RequestReceipt
from tests.chain.federation_fixture import key_of

REPLICAS = [key_of(f"replica {index}") for index in range(4)]
MEMBERS = Membership(
    chain_id=sha256(b"chain"), epoch=2, keys=tuple(replica.public_key for replica in REPLICAS)
)
EXECUTION = ExecutionReceipt(
    chain_id=MEMBERS.chain_id,
    epoch=2,
    client=key_of("client").public_key,
    cseq=7,
    request=sha256(b"a sealed request"),
    sequence=12,
    outcomes=(b"accepted",),
)


def sealed(replica: int, execution: ExecutionReceipt = EXECUTION) -> bytes:
    key = REPLICAS[replica]
    return seal(execution, key.public_key, key.sign)


def joined(*replicas: int, execution: ExecutionReceipt = EXECUTION) -> bytes:
    return join_receipts({index: sealed(index, execution) for index in replicas}, MEMBERS)


@pytest.mark.parametrize("replicas", [(0, 1), (3, 1), (2, 3)])
def test_f_plus_1_signatures_convince(replicas: tuple[int, int]) -> None:
    assert verify_receipt(joined(*replicas), MEMBERS) == EXECUTION


def test_of_more_signatures_f_plus_1_are_kept() -> None:
    kept = decode(RequestReceipt, joined(3, 2, 1, 0)).signatures
    assert [entry.replica for entry in kept] == [0, 1]


def test_a_receipt_holds_as_many_of_the_longest_outcomes_as_there_can_be() -> None:
    longest = replace(EXECUTION, outcomes=(b"x" * 64,) * COMMANDS_MAX)
    assert open_execution_receipt(sealed(0, longest), MEMBERS) == (0, longest)
    assert verify_receipt(joined(0, 1, execution=longest), MEMBERS) == longest
    for wrong in ((), (b"x",) * (COMMANDS_MAX + 1), (b"x" * 65,)):
        with pytest.raises(DecodeError):
            open_execution_receipt(sealed(0, replace(EXECUTION, outcomes=wrong)), MEMBERS)


def changed(**fields: object) -> Callable[[RequestReceipt], RequestReceipt]:
    return lambda receipt: replace(receipt, execution=replace(receipt.execution, **fields))


def signatures(choose: Callable[[tuple[ReceiptSignature, ...]], tuple[ReceiptSignature, ...]]):  # type: ignore[no-untyped-def]
    return lambda receipt: replace(receipt, signatures=choose(receipt.signatures))


@pytest.mark.parametrize(
    "change",
    [
        changed(cseq=8),
        changed(sequence=13),
        changed(request=sha256(b"another")),
        changed(outcomes=(b"refused",)),
        changed(outcomes=(b"accepted", b"accepted")),
        changed(client=key_of("another").public_key),
        changed(chain_id=bytes(32)),
        changed(epoch=3),
        signatures(lambda both: both[:1]),
        signatures(lambda both: (both[0], both[0])),
        signatures(lambda both: (both[1], both[0])),
        signatures(lambda both: (both[0], replace(both[1], replica=2))),
        signatures(lambda both: (both[0], replace(both[1], replica=4))),
        signatures(lambda both: (*both, ReceiptSignature(replica=3, signature=bytes(64)))),
    ],
)
def test_nothing_else_does(change: Callable[[RequestReceipt], RequestReceipt]) -> None:
    with pytest.raises(DecodeError):
        verify_receipt(encode(change(decode(RequestReceipt, joined(0, 1)))), MEMBERS)


def test_bytes_behind_a_receipt_are_refused() -> None:
    with pytest.raises(DecodeError):
        verify_receipt(joined(0, 1) + b"\0", MEMBERS)


def test_a_strangers_or_a_forged_receipt_is_refused() -> None:
    stranger = key_of("stranger")
    with pytest.raises(DecodeError, match="no member"):
        open_execution_receipt(seal(EXECUTION, stranger.public_key, stranger.sign), MEMBERS)
    forged = sealed(0)
    with pytest.raises(BadSignature):
        open_execution_receipt(forged[:-1] + bytes([forged[-1] ^ 1]), MEMBERS)
    with pytest.raises(DecodeError, match="epoch 3"):
        open_execution_receipt(sealed(0, replace(EXECUTION, epoch=3)), MEMBERS)
