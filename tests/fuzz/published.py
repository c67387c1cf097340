"""What comes with the published log: notes, checkpoints, keys, bundles, evidence."""

from functools import cache

from bft.codec.canonical import encode
from chain.audit.evidence import EvidenceKeeper, check_evidence, open_evidence
from chain.audit.replay import LOG_ENTRY_BYTES_MAX, Auditor
from chain.tlog.checkpoint import Checkpoint, cosign, decode_checkpoint, note_of
from chain.tlog.keys import LogKeys, open_keys
from chain.tlog.note import decode_note, decode_vkey
from chain.tlog.tiles import decode_bundle, encode_bundle
from tests.chain.audit.mill import Mill
from tests.chain.tlog.publishing import TIME_S, cosigner, log_keys, sealed_keys
from tests.fuzz.target import Target


@cache
def lied() -> Mill:
    """A cycle in which replica 2 lies in its table."""
    made = Mill().found().to_aggregation(liar=2)
    made.aggregate()
    made.sign()
    return made


@cache
def bundle() -> bytes:
    """The evidence of it."""
    genesis = encode(lied().genesis)
    auditor, keeper = Auditor(genesis), EvidenceKeeper(genesis)
    for entry in lied().entries:
        keeper.take(encode(entry), auditor.cycle, LOG_ENTRY_BYTES_MAX)
        auditor.take(entry)
    (accusation,) = auditor.accusations
    evidence = keeper.evidence(accusation)
    assert evidence is not None
    return encode(evidence)


def _checkpoint(data: bytes) -> bytes:
    return decode_checkpoint(data.decode("latin-1")).encode().encode("latin-1")


def _vkey(data: bytes) -> bytes:
    return decode_vkey(data.decode("latin-1")).vkey.encode("latin-1")


def _keys(data: bytes) -> None:
    made = lied()
    open_keys(data, made.rules.chain_id, made.replicas[0].public_key)


def _judge(data: bytes) -> None:
    check_evidence(open_evidence(data), None)


def targets() -> list[Target]:
    """All of them."""
    made = lied()
    checkpoint = Checkpoint("gristmill/fuzz", 7, bytes(32))
    note = note_of(checkpoint, cosign(checkpoint, cosigner(made, 0), TIME_S)).encode()
    keys: LogKeys = log_keys(made, 0)
    return [
        Target(
            name="signed-note",
            read=lambda data: decode_note(data).encode(),
            samples=(note,),
            covers=("chain.tlog.note:decode_note",),
        ),
        Target(name="log-checkpoint", read=_checkpoint, samples=(checkpoint.encode().encode(),)),
        Target(name="verifier-key", read=_vkey, samples=(keys.cosigner.vkey.encode(),)),
        Target(
            name="entry-bundle",
            read=lambda data: encode_bundle(decode_bundle(data, 2)),
            samples=(encode_bundle([b"one", b""]),),
            covers=("chain.tlog.tiles:decode_bundle",),
        ),
        Target(
            name="log-keys",
            read=_keys,
            samples=(sealed_keys(made, 0),),
            covers=("chain.tlog.keys:open_keys",),
        ),
        Target(
            name="evidence-bundle",
            read=lambda data: encode(open_evidence(data)),
            samples=(bundle(),),
            covers=("chain.audit.evidence:open_evidence",),
        ),
        Target(name="evidence-bundle-judged", read=_judge, samples=(bundle(),), slow=True),
    ]
