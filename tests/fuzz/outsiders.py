"""Readers of `chain`: operations, certificates, blocks, tensors, log, archive."""

from functools import cache
from io import BytesIO

from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope, seal
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.audit.archive import frame, open_archive, start_archive
from chain.audit.replay import Auditor
from chain.federation.receipts import read_receipt
from chain.federation.transport import Reply, refusal
from chain.receipts import join_receipts, open_execution_receipt, verify_receipt
from chain.records import block as blocks
from chain.records import evidence as evidences
from chain.records.certificate import decode_certificate
from chain.records.commands import Commands, split_operations
from chain.records.operations import decode_operation, encode_operation
from chain.records.receipt import ExecutionReceipt, RequestReceipt
from chain.records.score_log import LogEntry, decode_leaf, encode_leaf
from chain.records.transaction import decode_transaction
from chain.rules.founding import open_genesis
from chain.rules.sparse import SparseFormat, decode_sparse
from chain.rules.tensors import decode_tensors, encode_tensors
from chain.rules.updates import decode_snapshot, decode_update, snapshot_layout
from chain.validation import (
    verify_certificate,
    verify_contribution,
    verify_evidence,
    verify_finality,
)
from tests.chain import federation_fixture as chain
from tests.chain.audit.mill import Mill
from tests.chain.rules import test_sparse, training_job
from tests.fuzz.target import Target

FIRST, SECOND = chain.make_chain(2)
EQUIVOCATION = evidences.equivocation(
    FIRST.certified_header, chain.block_on(chain.START, time=chain.START.time + 11).certified_header
)
FAULT = evidences.federation_fault(
    chain.finality_of(FIRST).encode(),
    chain.finality_of(chain.block_on(chain.START, time=chain.START.time + 11)).encode(),
)

CONVICTING = (evidences.encode_evidence(EQUIVOCATION), evidences.encode_evidence(FAULT))


MEMBERS = chain.GENESIS.membership
EXECUTION = ExecutionReceipt(
    chain_id=MEMBERS.chain_id,
    epoch=MEMBERS.epoch,
    client=chain.key_of("client").public_key,
    cseq=7,
    request=bytes(32),
    sequence=9,
    outcomes=(b"accepted", b"full"),
)
SAID = tuple(
    seal(EXECUTION, key.public_key, key.sign)
    for key in (chain.key_of(f"replica {index}") for index in range(2))
)


@cache
def log() -> tuple[bytes, tuple[LogEntry, ...]]:
    """A genesis record, and the log of key generation and one whole cycle."""
    mill = Mill().found().cycle()
    return encode(mill.genesis), tuple(mill.entries)


def operations() -> tuple[bytes, ...]:
    """One of each kind that the log holds."""
    found: dict[type[Record], bytes] = {}
    for entry in log()[1]:
        record = decode_leaf(entry.leaf)
        batch = getattr(record, "batch", None)
        for sealed in decode_batch(batch).requests if batch is not None else ():
            operation = decode(Request, decode(Envelope, sealed).body).operation
            found.setdefault(type(decode_operation(operation)), operation)
    return tuple(found.values())


def _certificate(data: bytes) -> bytes:
    certificate, signature = decode_certificate(data)
    return certificate.body() + signature


def _verified_certificate(data: bytes) -> bytes:
    verify_certificate(data, chain.FEDERATION_KEY, chain.CHAIN_ID)
    return data


def _block(data: bytes) -> bytes:
    block = blocks.decode_block(data)
    made = chain.assemble(block.header, *block.transactions)
    assert blocks.decode_certified_header(block.certified_header.encode()).hash == block.hash
    return made


def _statement(data: bytes) -> bytes:
    statement = evidences.decode_statement(data)
    return data if not isinstance(statement, evidences.Finality) else statement.encode()


def _finality(data: bytes) -> bytes:
    word = evidences.decode_finality(data)
    verify_finality(chain.FEDERATION_KEY, chain.CHAIN_ID, word.height, word.block, word.signature)
    return word.encode()


def _evidence(data: bytes) -> bytes:
    return evidences.encode_evidence(verify_evidence(data, chain.FEDERATION_KEY, chain.CHAIN_ID))


def _contribution(data: bytes) -> None:
    certificate = chain.certificate_on(chain.START)
    proof = [data[at : at + 32] for at in range(64, len(data), 32)]
    verify_contribution(data[8:64], len(data) % 5, len(data) % 7, proof, certificate)


def _blocks() -> list[Target]:
    certificate = chain.signed(chain.certificate_on(chain.START))
    coinbase = FIRST.transactions[0].encode()
    return [
        Target(
            name="certificate",
            read=_certificate,
            samples=(certificate,),
            covers=("chain.records.certificate:decode_certificate",),
        ),
        Target(
            name="certificate-verified",
            read=_verified_certificate,
            samples=(certificate,),
            slow=True,
        ),
        Target(
            name="header",
            read=lambda data: blocks.decode_header(data).encode(),
            samples=(FIRST.header.encode(),),
            covers=("chain.records.block:decode_header",),
        ),
        Target(
            name="certified-header",
            read=lambda data: blocks.decode_certified_header(data).encode(),
            samples=(FIRST.certified_header.encode(),),
            covers=("chain.records.block:decode_certified_header",),
        ),
        Target(
            name="block",
            read=_block,
            samples=(FIRST.data, SECOND.data),
            covers=("chain.records.block:decode_block",),
        ),
        Target(
            name="transaction",
            read=lambda data: decode_transaction(data).encode(),
            samples=(coinbase,),
            covers=("chain.records.transaction:decode_transaction",),
        ),
        Target(
            name="evidence",
            read=lambda data: evidences.encode_evidence(evidences.decode_evidence(data)),
            samples=CONVICTING,
            covers=("chain.records.evidence:decode_evidence",),
        ),
        Target(
            name="evidence-verified",
            read=_evidence,
            samples=CONVICTING,
            slow=True,
        ),
        Target(
            name="statement",
            read=_statement,
            samples=(certificate, chain.finality_of(FIRST).encode()),
            covers=("chain.records.evidence:decode_statement",),
        ),
        Target(
            name="finality",
            read=_finality,
            samples=(chain.finality_of(FIRST).encode(),),
            covers=("chain.records.evidence:decode_finality",),
            slow=True,
        ),
        Target(name="contribution", read=_contribution, samples=(bytes(96),), blind=True),
    ]


def _tensors() -> list[Target]:
    job = training_job.JOB
    snapshot, update = training_job.snapshot(5), training_job.random_update(1, 3)
    layout = snapshot_layout(job)

    def read_update(data: bytes) -> bytes:
        decode_update(job, 1, data)  # what it gives is capped, and so encodes to something else
        return data

    sparse = SparseFormat(elements=5000, keep=64, value_bits=2)

    return [
        Target(
            name="tensors",
            read=lambda data: encode_tensors(decode_tensors(data, layout)),
            samples=(snapshot,),
            covers=("chain.rules.tensors:decode_tensors",),
        ),
        Target(
            name="snapshot",
            read=lambda data: encode_tensors(decode_snapshot(job, data)),
            samples=(snapshot,),
            covers=("chain.rules.updates:decode_snapshot",),
        ),
        Target(
            name="update",
            read=read_update,
            samples=(update, training_job.update(1, -128, 16)),
            covers=("chain.rules.updates:decode_update", "chain.rules.updates:decode_change"),
        ),
        Target(
            name="sparse-update",
            read=lambda data: test_sparse.encoded_again(sparse, decode_sparse(sparse, data)),
            samples=tuple(test_sparse.sample(sparse, seed) for seed in range(3)),
            covers=("chain.rules.sparse:decode_sparse",),
        ),
    ]


def _archive(data: bytes) -> None:
    genesis, entries = open_archive(BytesIO(data))
    open_genesis(genesis)
    for entry in entries:
        decode(LogEntry, entry)


def _audit(data: bytes) -> None:
    """Never raises, whatever stands in the log; and a log that is not the genuine one fails."""
    genesis, entries = log()
    auditor = Auditor(genesis)
    for entry in entries[:3]:
        auditor.take(entry)
    auditor.take(data)
    auditor.take(entries[4])
    if data != encode(entries[3]):
        assert not auditor.report().passed


def _reply(data: bytes) -> None:
    """What a replica says when it refuses becomes an error of ours, whatever it says."""
    for status in (302, 400, 404, 429, 500):
        assert len(str(refusal(Reply(status, data)))) < 2_000


def _commands(data: bytes) -> bytes:
    operations = split_operations(data)
    return data if operations == (data,) else encode_operation(Commands(operations=operations))


def _execution_receipt(data: bytes) -> bytes:
    replica, execution = open_execution_receipt(data, MEMBERS)
    assert MEMBERS.keys[replica] == decode(Envelope, data).signer
    assert decode(Envelope, data).body == encode(execution)
    return data


def _receipt(data: bytes) -> bytes:
    execution = verify_receipt(data, MEMBERS)
    receipt = decode(RequestReceipt, data)
    assert receipt.execution == execution
    return encode(receipt)


def _receipt_answer(data: bytes) -> None:
    for status in (200, 409):
        read_receipt("url", Reply(status, data), EXECUTION.request, MEMBERS)


def _log() -> list[Target]:
    genesis, entries = log()
    leaves = tuple(entry.leaf for entry in entries)
    whole = BytesIO()
    start_archive(whole, genesis)
    for entry in entries[:3]:
        whole.write(frame(encode(entry)))
    small = replace(decode(LogEntry, encode(entries[3])), proof=b"")
    return [
        Target(
            name="operation",
            read=lambda data: encode_operation(decode_operation(data)),
            samples=operations(),
            covers=("chain.records.operations:decode_operation",),
        ),
        Target(
            name="commands",
            read=_commands,
            samples=(encode_operation(Commands(operations=operations()[:2])), operations()[0]),
        ),
        Target(
            name="execution-receipt",
            read=_execution_receipt,
            samples=SAID,
            covers=("chain.receipts:open_execution_receipt",),
        ),
        Target(
            name="request-receipt",
            read=_receipt,
            samples=(join_receipts(dict(enumerate(SAID)), MEMBERS),),
        ),
        Target(
            name="receipt-answer",
            read=_receipt_answer,
            samples=(b'{"code": "accepted", "receipt": "' + SAID[0].hex().encode() + b'"}',),
        ),
        Target(
            name="leaf",
            read=lambda data: encode_leaf(decode_leaf(data)),
            samples=leaves[-12:],
            covers=("chain.records.score_log:decode_leaf",),
        ),
        Target(
            name="archive",
            read=_archive,
            samples=(whole.getvalue(),),
            covers=("chain.audit.archive:open_archive",),
        ),
        Target(
            name="genesis",
            read=lambda data: encode(open_genesis(data)),
            samples=(genesis, encode(chain.GENESIS)),
            covers=("chain.rules.founding:open_genesis",),
        ),
        Target(
            name="audited-entry",
            read=_audit,
            samples=(encode(entries[3]), encode(small)),
            slow=True,
        ),
        Target(
            name="problem",
            read=_reply,
            samples=(b'{"title": "Conflict", "detail": "late", "code": "late", "status": 409}',),
        ),
    ]


def targets() -> tuple[Target, ...]:
    """By room."""
    return (*_blocks(), *_tensors(), *_log())
