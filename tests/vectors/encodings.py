"""Vectors of bytes: records, envelopes, requests, batches, quorum proofs, trees, the genesis."""

from typing import Any

from msgspec.structs import replace

from bft import quorum
from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope, pre_authentication_encoding, seal
from bft.crypto.hashing import sha256, tagged_hash
from bft.crypto.merkle import inclusion_proof, merkle_root
from bft.ordering.batch import NULL_BATCH, NULL_DIGEST, Batch, batch_digest
from bft.ordering.proof import Commit, CommitSignature, QuorumProof
from bft.ordering.request import Request
from chain.records.block import block_hash, genesis_header
from chain.records.commands import COMMANDS_MAX, Commands, encode_commands
from chain.records.contribution import Profile, Register, UpdateCommitment, commitment_digest
from chain.records.conviction import ShowEvidence
from chain.records.evaluation import EvaluationRow, ScoreRow
from chain.records.operations import Operation, encode_operation
from chain.records.receipt import ExecutionReceipt, ReceiptSignature, RequestReceipt
from chain.records.score_log import BeaconRound, CycleClosed, encode_leaf, hash_leaf
from tests.vectors.cast import CHAIN_ID, GENESIS, MEMBERSHIP, MINERS, REPLICAS

ORDER_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # secp256k1's order
INTEGERS = (
    *(0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1),
    *(-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)),
)
BYTES = (0, 1, 255, 256)


def _row(gain: int) -> EvaluationRow:
    return EvaluationRow(unit=1, valid=1, gain=gain, advantage=0, norm=0, replay=0)


def _score(gain: int) -> ScoreRow:
    """The record with a 64-bit signed field."""
    return ScoreRow(
        cycle=1,
        unit=1,
        miner=MINERS[0].public_key,
        segment=0,
        parameters=1,
        samples=1,
        valid=1,
        gain=gain,
        advantage=0,
        volume=1,
        coverage=0,
        quality=0,
        tickets=0,
    )


def _operation(size: int) -> Request:
    return Request(chain_id=CHAIN_ID, client=MINERS[0].public_key, cseq=1, operation=bytes(size))


def _named(record: Record) -> dict[str, Any]:
    return {"record": type(record).__name__, "fields": record, "encoded": encode(record)}


def records() -> dict[str, Any]:
    """Accepted encodings, and bytes that are none."""
    row = encode(_row(5))  # 96 01 01 05 00 00 00
    profile = encode(Profile(device=b"cpu", capacity=5, memory_bytes=6))  # 93 c4 03 "cpu" 05 06
    refused = {
        "empty": ("EvaluationRow", b""),
        "cut off": ("EvaluationRow", row[:-1]),
        "a byte behind the record": ("EvaluationRow", row + b"\0"),
        "a field too few": ("EvaluationRow", b"\x95" + row[1:-1]),
        "a field too many": ("EvaluationRow", b"\x97" + row[1:] + b"\0"),
        "an integer in a longer form": ("EvaluationRow", row[:3] + b"\xcc\x05" + row[4:]),
        "a positive integer in a signed form": ("EvaluationRow", row[:3] + b"\xd0\x05" + row[4:]),
        "a float": ("EvaluationRow", row[:3] + b"\xcb" + bytes(8) + row[4:]),
        "nil for an integer": ("EvaluationRow", row[:3] + b"\xc0" + row[4:]),
        "true for an integer": ("EvaluationRow", row[:3] + b"\xc3" + row[4:]),
        "an array in a longer form": ("EvaluationRow", b"\xdc\x00\x06" + row[1:]),
        "a map for the array": ("EvaluationRow", b"\x86" + row[1:]),
        "below an unsigned field": ("EvaluationRow", b"\x96\xff" + row[2:]),
        "above an 8-bit field": ("EvaluationRow", row[:2] + b"\xcd\x01\x00" + row[3:]),
        "above a signed field": ("EvaluationRow", row[:3] + b"\xcf" + b"\xff" * 8 + row[4:]),
        "text for bytes": ("Profile", b"\x93\xa3cpu" + profile[6:]),
        "bytes in a longer form": ("Profile", b"\x93\xc5\x00\x03cpu" + profile[6:]),
        "bytes too few": ("Profile", b"\x93\xc4\x00" + profile[6:]),
        "bytes too many": ("Profile", b"\x93\xc4\x41" + b"c" * 65 + profile[6:]),
    }
    return {
        "accepted": [_named(_row(5))]
        + [_named(_score(value)) for value in INTEGERS]
        + [_named(_operation(size)) for size in BYTES]
        + [_named(Profile(device=b"cpu", capacity=5, memory_bytes=6))],
        "refused": [
            {"why": why, "record": kind, "encoded": data} for why, (kind, data) in refused.items()
        ],
    }


def hashes() -> dict[str, Any]:
    """Tagged hashes, and trees of 0 to 8 leaves."""
    leaves = [b"leaf %d" % number for number in range(8)]
    return {
        "tagged": [
            {"tag": tag, "data": data, "hash": tagged_hash(tag, data)}
            for tag, data in (("bft.batch/1", b""), ("gristmill/certificate/v1", b"data"))
        ],
        "leaves": leaves,
        "roots": [merkle_root(leaves[:size]) for size in range(9)],
        "inclusion_in_7": [inclusion_proof(leaves[:7], index) for index in range(7)],
    }


def envelopes() -> dict[str, Any]:
    """A signed record, and envelopes that nobody signed."""
    miner, record = (
        MINERS[0],
        Register(cycle=7, profile=Profile(device=b"cpu", capacity=5, memory_bytes=6)),
    )
    sealed = seal(record, miner.public_key, miner.sign)
    tag, body = record.TAG.encode(), encode(record)
    signature = miner.sign(pre_authentication_encoding(tag, body))
    high_s = signature[:32] + (ORDER_N - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")

    def changed(**fields: bytes) -> bytes:
        return encode(
            Envelope(
                **{
                    "tag": tag,
                    "body": body,
                    "signer": miner.public_key,
                    "signature": signature,
                    **fields,
                }
            )
        )

    refused = {
        "high s": changed(signature=high_s),
        "another body": changed(body=encode(Register(cycle=8, profile=record.profile))),
        "another tag": changed(tag=b"gristmill.register/2"),
        "another signer": changed(signer=MINERS[1].public_key),
        "no point": changed(signer=b"\x05" + miner.public_key[1:]),
        "a signature of zeros": changed(signature=bytes(64)),
    }
    return {
        "secret": miner.secret,
        "signer": miner.public_key,
        "record": "Register",
        "fields": record,
        "tag": record.TAG,
        "body": body,
        "signed": pre_authentication_encoding(tag, body),
        "digest": sha256(pre_authentication_encoding(tag, body)),
        "signature": signature,
        "envelope": sealed,
        "refused": [{"why": why, "envelope": data} for why, data in refused.items()],
    }


def _request(cycle: int, cseq: int) -> tuple[Request, bytes]:
    miner = MINERS[cseq % len(MINERS)]
    operation = Register(cycle=cycle, profile=Profile(device=b"cpu", capacity=5, memory_bytes=6))
    request = Request(
        chain_id=CHAIN_ID,
        client=miner.public_key,
        cseq=cseq,
        operation=encode_operation(operation),
    )
    return request, seal(request, miner.public_key, miner.sign)


def ordering() -> dict[str, Any]:
    """Requests, a batch of them, and the proof that it was decided."""
    requests = [_request(7, cseq) for cseq in (1, 2)]
    batch = encode(Batch(timestamp_ms=1_800_000_001_000, requests=tuple(r for _, r in requests)))
    return {
        "chain_id": CHAIN_ID,
        "members": MEMBERSHIP.keys,
        "quorums": [
            {"n": n, "f": quorum.faults(n), "strong": quorum.strong(n), "weak": quorum.weak(n)}
            for n in (1, 2, 3, 4, 5, 7, 10, 16, 31, 100)
        ],
        "requests": [
            {
                "fields": request,
                "sealed": sealed,
                "digest": sha256(pre_authentication_encoding(b"bft.request/1", encode(request))),
            }
            for request, sealed in requests
        ],
        "batch": {
            "timestamp_ms": 1_800_000_001_000,
            "encoded": batch,
            "digest": batch_digest(batch),
        },
        "null_batch": {"encoded": NULL_BATCH, "digest": NULL_DIGEST},
        "quorum_proof": _quorum_proof(batch_digest(batch)),
        "commands": _commands(),
        "receipt": _receipt(requests[0]),
    }


def _commands() -> dict[str, Any]:
    """Operations that share a signature, and what is no such thing."""
    records = (
        Register(cycle=8, profile=Profile(device=b"cpu", capacity=5, memory_bytes=6)),
        UpdateCommitment(cycle=7, unit=3, commitment=sha256(b"hidden")),
    )
    one = encode_operation(records[0])

    def of(*operations: bytes) -> bytes:
        return encode_operation(Commands(operations=operations))

    return {
        "operations": [encode_operation(record) for record in records],
        "operation": encode_commands(records),
        "refused": [
            {"why": "none", "operation": of()},
            {"why": "too many", "operation": of(*[one] * (COMMANDS_MAX + 1))},
            {"why": "a byte behind it", "operation": of(one) + b"\0"},
            {"why": "evidence among others", "operation": of(one, _bare(ShowEvidence.TAG))},
        ],
        "each_for_itself": {
            "operation": of(one, of(one), b"\xc1", _bare("gristmill.unheard-of/1"), one + b"\0"),
            "malformed": [1, 2, 3, 4],
        },
    }


def _bare(tag: str) -> bytes:
    return encode(Operation(tag=tag.encode(), body=b""))


def member_texts() -> dict[str, Any]:
    """What may stand in a member's record as a name and as an address, and what may not."""
    names = ["operator 0", "\u4e2d\u6587 \u00e9", "a\u00a0b", "\U0001fae9"]  # the last: Unicode 16
    unshown = ["", "a\nb", "\x1b[2J", "a\x7f", "a\x85", "a\u202eb", "a\u2066b", "a\u2028b"]
    found = [b"h:1", b"[::1]:65535", b"a:b:80", b"h:00080"]
    none = [b"h", b":80", b"h:", b"h:0", b"h:65536", b"h:+1", b"u@h:80", b"h/a:80", b"h :80"]
    return {
        "names": [name.encode() for name in names],
        "no_names": [*(name.encode() for name in unshown), b"\xff", b"\xed\xa0\x80"],
        "addresses": found,
        "no_addresses": [*none, "h\u00e9:80".encode(), b"h:\xd9\xa1"],
    }


def _receipt(request: tuple[Request, bytes]) -> dict[str, Any]:
    """What replicas say of an executed request, and what f + 1 of them prove together."""
    fields, sealed = request
    execution = ExecutionReceipt(
        chain_id=CHAIN_ID,
        epoch=0,
        client=fields.client,
        cseq=fields.cseq,
        request=sha256(sealed),
        sequence=9,
        outcomes=(b"accepted",),
    )
    said = [seal(execution, replica.public_key, replica.sign) for replica in REPLICAS]
    signatures = [
        ReceiptSignature(replica=index, signature=decode(Envelope, each).signature)
        for index, each in enumerate(said)
    ]

    def receipt(*chosen: ReceiptSignature, about: ExecutionReceipt = execution) -> bytes:
        return encode(RequestReceipt(execution=about, signatures=chosen))

    swapped = ReceiptSignature(replica=1, signature=signatures[2].signature)
    full = replace(execution, outcomes=(b"full",))
    refused = {
        "too few": receipt(signatures[0]),
        "too many": receipt(*signatures[:3]),
        "one replica twice": receipt(signatures[1], signatures[1]),
        "not ascending": receipt(signatures[1], signatures[0]),
        "another's signature": receipt(signatures[0], swapped),
        "another outcome": receipt(*signatures[:2], about=full),
        "another sequence": receipt(*signatures[:2], about=replace(execution, sequence=10)),
    }
    return {
        "fields": execution,
        "signed": pre_authentication_encoding(ExecutionReceipt.TAG.encode(), encode(execution)),
        "sealed": said,
        "accepted": [receipt(*signatures[:2]), receipt(signatures[1], signatures[3])],
        "refused": [{"why": why, "receipt": data} for why, data in refused.items()],
    }


def _quorum_proof(digest: bytes, view: int = 3, sequence: int = 9) -> dict[str, Any]:
    commits = [
        Commit(
            chain_id=CHAIN_ID, epoch=0, view=view, sequence=sequence, digest=digest, replica=index
        )
        for index in range(len(REPLICAS))
    ]
    signed = [pre_authentication_encoding(Commit.TAG.encode(), encode(each)) for each in commits]
    entries = [
        CommitSignature(replica=index, signature=REPLICAS[index].sign(message))
        for index, message in enumerate(signed)
    ]

    def proof(*chosen: CommitSignature, in_view: int = view) -> bytes:
        return encode(QuorumProof(view=in_view, signatures=chosen))

    swapped = CommitSignature(replica=2, signature=entries[3].signature)
    refused = {
        "too few": proof(*entries[:2]),
        "too many": proof(*entries),
        "one replica twice": proof(entries[0], entries[1], entries[1]),
        "not ascending": proof(entries[1], entries[0], entries[2]),
        "another's signature": proof(entries[0], entries[1], swapped),
        "another view": proof(*entries[:3], in_view=view + 1),
    }
    return {
        "epoch": 0,
        "view": view,
        "sequence": sequence,
        "digest": digest,
        "signed": signed,
        "accepted": [proof(*entries[:3]), proof(entries[0], entries[2], entries[3])],
        "refused": [{"why": why, "proof": data} for why, data in refused.items()],
    }


def genesis() -> dict[str, Any]:
    """The record, the chain id, block 0."""
    header = genesis_header(GENESIS)
    return {
        "fields": GENESIS,
        "encoded": encode(GENESIS),
        "chain_id": CHAIN_ID,
        "header": header,
        "block_hash": block_hash(header),
    }


def commitments() -> list[dict[str, Any]]:
    """What a miner commits to before it reveals."""
    found = []
    for cycle, unit in ((1, 0), (2**40, 7)):
        digest, salt = sha256(b"update %d" % unit), sha256(b"salt %d" % unit)
        miner = MINERS[unit % len(MINERS)].public_key
        hidden = commitment_digest(CHAIN_ID, cycle, unit, miner, digest, salt)
        record = UpdateCommitment(cycle=cycle, unit=unit, commitment=hidden)
        found.append(
            {
                "chain_id": CHAIN_ID,
                "miner": miner,
                "update_digest": digest,
                "salt": salt,
                "fields": record,
                "encoded": encode(record),
            }
        )
    return found


def leaves() -> list[dict[str, Any]]:
    """Leaves of the score log."""
    records: tuple[Record, ...] = (
        CycleClosed(cycle=7, reason=1),
        BeaconRound(round=14, signature=bytes(48)),
    )
    return [
        {
            "tag": record.TAG,
            "fields": record,
            "leaf": encode_leaf(record),
            "hash": hash_leaf(record),
        }
        for record in records
    ]
