"""Readers of `bft`: codec, envelopes, curve points, key generation, ordering, PBFT."""

from functools import partial

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import (
    Envelope,
    open_as,
    open_envelope,
    pre_authentication_encoding,
    seal,
)
from bft.crypto import bls, identity, sealing
from bft.crypto.identity import PrivateKey
from bft.dkg import dealing as dealings
from bft.dkg.fold import apply
from bft.dkg.messages import MESSAGES, Message, Phase
from bft.errors import DecodeError, Refused
from bft.ordering.batch import Batch, batch_digest, decode_batch
from bft.ordering.proof import QuorumProof, verify_quorum_proof
from bft.ordering.request import Request, open_request, seal_request
from bft.pbft import messages as pbft
from bft.pbft.certificates import Verifier, verify_prepared, verify_stable
from bft.pbft.clients import ClientTable
from bft.pbft.config import Config, Era
from bft.pbft.journal import Accepted, Delivered, Prepared, decode_entry, encode_entry
from bft.pbft.past import open_frame
from bft.pbft.records import PreparedProof, StableProof
from bft.pbft.view_change import check_new_view, check_view_change
from tests.bft.dkg.ceremony import honest_dealing, opened, said_by, until
from tests.bft.dkg.resharing import at
from tests.bft.dkg.resharing import said as said_in
from tests.bft.pbft import identities, makers
from tests.fuzz.records import sample
from tests.fuzz.target import Target

KEY = PrivateKey(bytes([7] * 32))
CHAIN = identities.CHAIN
WINDOW, INTERVAL = 16, 8


def sealed(tag: str, body: bytes, key: identities.Key = KEY) -> bytes:
    """An envelope whose signature stands, whatever the body is."""
    message = pre_authentication_encoding(tag.encode(), body)
    return encode(
        Envelope(tag=tag.encode(), body=body, signer=key.public_key, signature=key.sign(message))
    )


def _envelope(data: bytes) -> bytes:
    return encode(open_envelope(data))


def _open_batch(data: bytes) -> bytes:
    _, batch = open_as(Batch, data)
    envelope = decode(Envelope, data)
    assert envelope.body == encode(batch)
    return data


def _request(data: bytes) -> bytes:
    assert open_request(data, CHAIN).chain_id == CHAIN
    return data


def _codec() -> list[Target]:
    batch = makers.batch_of(makers.operation(1), makers.operation(2))
    request = seal_request(CHAIN, KEY.public_key, 1, b"operation", KEY.sign)
    inside = decode(Envelope, request).body
    return [
        Target(
            name="envelope",
            read=_envelope,
            samples=(seal(sample(Batch, 1), KEY.public_key, KEY.sign), request),
            covers=("bft.codec.canonical:decode", "bft.codec.envelope:open_envelope"),
            inner=(batch, inside),
            wrap=partial(sealed, "any"),
        ),
        Target(
            name="envelope-as",
            read=_open_batch,
            samples=(sealed(Batch.TAG, batch),),
            covers=("bft.codec.envelope:open_as",),
            inner=(batch,),
            wrap=partial(sealed, Batch.TAG),
        ),
        Target(
            name="request",
            read=_request,
            samples=(request,),
            covers=("bft.ordering.request:open_request",),
            inner=(inside,),
            wrap=partial(sealed, Request.TAG),
        ),
        Target(
            name="batch",
            read=lambda data: encode(decode_batch(data)),
            samples=(batch,),
            covers=("bft.ordering.batch:decode_batch",),
        ),
    ]


def _quorum_proof(data: bytes) -> bytes:
    verify_quorum_proof(data, makers.FOUR, 5, makers.D1)
    return data


def _identity(data: bytes) -> None:
    identity.verify(data[:33], data[33:97], data[97:])


def _bls(data: bytes) -> None:
    bls.verify(data[:96], data[96:144], data[144:])


def _bls_batch(data: bytes) -> None:
    bls.verify_batch([(data[:96], data[96:144], data[144:])] * 2)


def _open_sealed(data: bytes) -> None:
    sealing.open_sealed(bytes([9] * 32), data, b"info")


def _crypto() -> list[Target]:
    proof = QuorumProof(
        view=3, signatures=makers.votes(*(makers.commit(3, 5, makers.D1, i) for i in range(3)))
    )
    secret = 12345
    signature = bls.sign(secret, b"m")
    sealed_bytes = sealing.seal(
        bytes([5] * 32), sealing.sealing_key(bytes([9] * 32)), b"secret", b"info"
    )
    return [
        Target(name="quorum-proof", read=_quorum_proof, samples=(encode(proof),), slow=True),
        Target(
            name="point-g1",
            read=lambda data: bytes(bls.load_g1(data).to_compressed_bytes()),
            samples=(signature,),
            covers=("bft.crypto.bls:load_g1",),
        ),
        Target(
            name="point-g2",
            read=lambda data: bytes(bls.load_g2(data).to_compressed_bytes()),
            samples=(bls.public_key(secret),),
            covers=("bft.crypto.bls:load_g2",),
        ),
        Target(
            name="scalar",
            read=lambda data: bls.scalar_to_bytes(bls.scalar_from_bytes(data)),
            samples=(bls.scalar_to_bytes(secret),),
        ),
        Target(
            name="identity-signature",
            read=_identity,
            samples=(KEY.public_key + KEY.sign(b"m") + b"m",),
        ),
        Target(
            name="federation-signature",
            read=_bls,
            samples=(bls.public_key(secret) + signature + b"m",),
            slow=True,
        ),
        Target(
            name="federation-signatures",
            read=_bls_batch,
            samples=(bls.public_key(secret) + signature + b"m",),
            slow=True,
        ),
        Target(
            name="sealing-key",
            read=sealing.check_sealing_key,
            samples=(sealing.sealing_key(bytes([9] * 32)),),
        ),
        Target(
            name="sealed",
            read=_open_sealed,
            samples=(sealed_bytes,),
            covers=("bft.crypto.sealing:open_sealed",),
        ),
    ]


def _key_generation() -> list[Target]:
    keys, dealing, complaint = (
        until(opened(4), phase) for phase in (Phase.KEYS, Phase.DEALING, Phase.COMPLAINT)
    )
    reshared = [at(phase) for phase in (Phase.KEYS, Phase.DEALING, Phase.COMPLAINT)]
    everywhere = (keys, dealing, complaint, *reshared)
    dealt = honest_dealing(dealing, 0)
    kinds = {kind.TAG: kind for kind in MESSAGES}

    def hear(data: bytes) -> None:
        tag, _, body = data.partition(b"\x00")
        kind = kinds.get(tag.decode("latin-1"))
        if kind is None:
            raise DecodeError(f"tag {tag!r}")
        message: Message = decode(kind, body)
        refusals = 0
        for transcript in everywhere:
            try:
                apply(transcript, 0, message)
            except Refused:
                refusals += 1
        if refusals == len(everywhere):
            raise Refused("out-of-place", "no phase takes it")

    def open_share(data: bytes) -> None:
        dealings.open_share(dealt, 0, 1, dealt.ciphertexts[1], data)

    def said(record: Record) -> bytes:
        return record.TAG.encode() + b"\x00" + encode(record)

    samples = [
        said(message)
        for transcript in (keys, dealing, complaint)
        for message in said_by(transcript, 0)
    ]
    samples += [said(message) for transcript in reshared for message in said_in(transcript, 1)]
    return [
        Target(name="key-generation", read=hear, samples=tuple(samples), slow=True),
        Target(
            name="dealt-share",
            read=open_share,
            samples=(bytes([1] * 32),),
            covers=("bft.dkg.dealing:open_share",),
            slow=True,
            blind=True,
        ),
    ]


FRAMES = (
    (makers.header(0, 1, makers.D1), b"batch"),
    (makers.prepare(0, 1, makers.D1, 1), b""),
    (makers.commit(0, 1, makers.D1, 1), b""),
    (makers.checkpoint(8, 1), b""),
    (makers.view_change(1, 1, makers.prepared(0, 9), low=8), b""),
)


FOREIGN = (
    makers.header(1, 1, makers.D1),
    makers.prepare(0, 1, makers.D1, 1),
    makers.commit(0, 1, makers.D1, 1),
    makers.checkpoint(8, 1),
    makers.view_change(
        2,
        1,
        makers.prepared(1, 9, backups=(2, 3)),
        low=8,
        certificate=makers.stable(8, signers=(1, 2, 3)),
    ),
    makers.new_view(1, tuple(makers.view_change(1, i) for i in (1, 2, 3)), ()),
)
"""By member 1, without a word of member 0, who halts at one that its journal does not know."""
PROVING = (pbft.ViewChange.TAG.encode(), pbft.NewView.TAG.encode())


def _signed_by_one(data: bytes) -> bytes:
    """A frame of member 1 around "tag NUL body", its signature good."""
    tag, _, body = data.partition(b"\x00")
    key = identities.key("replica 1")
    envelope = sealed(tag.decode("latin-1")[:64] or "x", body, key)
    return encode(pbft.Frame(envelope=envelope, attachment=body[:64]))


def _messages() -> tuple[bytes, ...]:
    """ "tag NUL body" of one message of each kind, all by member 1."""
    changes = tuple(makers.view_change(1, i, makers.prepared(0, 1)) for i in (0, 1, 2))
    plain = [message for message, _ in FRAMES] + [makers.new_view(1, changes, ((1, makers.D1),))]
    known = {type(message) for message in plain}
    common = {"chain_id": CHAIN, "epoch": 0, "replica": 1}
    for kind in pbft.Message.__args__:
        if kind not in known:
            made = sample(kind, 3)
            fields = {name: getattr(made, name) for name in made.__struct_fields__}
            plain.append(kind(**{**fields, **common}))
    return tuple(message.TAG.encode() + b"\x00" + encode(message) for message in plain)


def _open_message(data: bytes) -> bytes:
    return pbft.open_message(data, makers.FOUR).frame


LATER = Config(
    membership=identities.membership(1, (3, 2, 1, 0)),
    index=0,
    sign=identities.signer(3),
    past=(Era(makers.FOUR, 128),),
)


def _open_frame(data: bytes) -> bytes:
    """A member of epoch 1 hears its own epoch and the one before."""
    found = open_frame(data, LATER)
    assert pbft.claimed_epoch(data) == found.message.epoch
    return found.frame


def _open_signed(data: bytes) -> bytes:
    return pbft.open_signed(data, makers.FOUR).envelope


def _step(data: bytes) -> None:
    """A real replica hears it from member 1, and acts; the cluster's oracles watch."""
    pbft.open_message(data, makers.FOUR)
    alone = makers.alone(0)
    alone.arrive(0, data)
    alone.run(20)


def _certificates(data: bytes) -> None:
    """What others rely on inside a VIEW-CHANGE, a NEW-VIEW or a proof."""
    tag, _, body = data.partition(b"\x00")
    verifier = Verifier(makers.FOUR)
    if tag == pbft.ViewChange.TAG.encode():
        change = decode(pbft.ViewChange, body)
        check_view_change(change, verifier, window=WINDOW, interval=INTERVAL)
    elif tag == pbft.NewView.TAG.encode():
        check_new_view(decode(pbft.NewView, body), verifier, window=WINDOW, interval=INTERVAL)
    elif tag == PreparedProof.TAG.encode():
        verify_prepared(decode(PreparedProof, body), verifier)
    else:
        verify_stable(decode(StableProof, body), verifier)


def _consensus() -> list[Target]:
    said = _messages()
    frames = tuple(makers.signed(message).frame for message, _ in FRAMES)
    proofs = (makers.prepared(0, 1), makers.stable(8))
    changes = tuple(makers.view_change(1, i, makers.prepared(0, 1)) for i in (0, 1, 2))
    new_view = makers.new_view(1, changes, ((1, makers.D1),))
    checked = (*proofs, new_view, makers.view_change(1, 1, makers.prepared(0, 9), low=8))
    digest = batch_digest(makers.batch_of(makers.operation(1)))
    header = makers.signed(makers.header(0, 1, digest))
    entries = (
        Accepted(envelope=header.envelope, batch=makers.batch_of(makers.operation(1))),
        Prepared(proof=makers.prepared(0, 1)),
        sample(Delivered, 1),
    )
    table = ClientTable()
    for number in range(3):
        table.mark(KEY.public_key, 7 * number, number + 1)
    return [
        Target(
            name="pbft-message",
            read=_open_message,
            samples=frames,
            covers=("bft.pbft.messages:open_message", "bft.pbft.messages:open_news"),
            inner=said,
            wrap=_signed_by_one,
        ),
        Target(
            name="pbft-frame",
            read=_open_frame,
            samples=frames,
            covers=("bft.pbft.past:open_frame",),
            inner=said,
            wrap=_signed_by_one,
        ),
        Target(
            name="pbft-envelope",
            read=_open_signed,
            samples=tuple(makers.signed(message).envelope for message, _ in FRAMES),
            covers=("bft.pbft.messages:open_signed",),
        ),
        Target(
            name="pbft-step",
            read=_step,
            samples=tuple(makers.signed(message).frame for message in FOREIGN),
            inner=tuple(m.TAG.encode() + b"\x00" + encode(m) for m in FOREIGN)
            + tuple(data for data in said if not data.startswith(PROVING)),
            wrap=_signed_by_one,
            slow=True,
        ),
        Target(
            name="pbft-certificates",
            read=_certificates,
            samples=tuple(proof.TAG.encode() + b"\x00" + encode(proof) for proof in checked),
            slow=True,
        ),
        Target(
            name="pbft-journal",
            read=lambda data: encode_entry(decode_entry(data)),
            samples=tuple(encode_entry(entry) for entry in entries),
            covers=("bft.pbft.journal:decode_entry",),
        ),
        Target(
            name="pbft-clients",
            read=lambda data: ClientTable.decode(data).encode(),
            samples=(table.encode(),),
            covers=("bft.pbft.clients:ClientTable.decode",),
        ),
    ]


def targets() -> tuple[Target, ...]:
    """By room."""
    return (*_codec(), *_crypto(), *_key_generation(), *_consensus())
