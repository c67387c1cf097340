"""Checkpoints: who signs for a size and a root, and what such a line does not prove."""

from dataclasses import replace
from pathlib import Path

import pytest

from bft.errors import BadSignature, DecodeError
from chain.tlog.checkpoint import (
    Checkpoint,
    cosign,
    decode_checkpoint,
    sign,
    verify_certificate_line,
    verify_line,
)
from chain.tlog.keys import open_keys, policy, seal_keys
from chain.tlog.note import decode_note, decode_vkey
from tests.chain.tlog.publishing import (
    TIME_S,
    cosigner,
    log_keys,
    log_signer,
    mill,
    publish,
    sealed_keys,
)

CHECKPOINT = Checkpoint("gristmill/test", 7, bytes(range(32)))


def test_a_checkpoint_has_one_text() -> None:
    assert decode_checkpoint(CHECKPOINT.encode()) == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n7\n",
        CHECKPOINT.encode() + "extension\n",
        CHECKPOINT.encode().replace("7", "07"),
        CHECKPOINT.encode().replace("7", "-7"),
        CHECKPOINT.encode().replace("7", str(2**63)),
        "a\n7\nAAAA\n",
        "a\n7\n!\n",
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_checkpoint(text)


def test_a_cosignature_is_for_its_checkpoint_its_time_and_its_key() -> None:
    signer, other = cosigner(mill(), 0), cosigner(mill(), 1)
    line = cosign(CHECKPOINT, signer, TIME_S)
    assert verify_line(CHECKPOINT, line, signer.verifier) == TIME_S
    later = replace(line, signature=(TIME_S + 1).to_bytes(8, "big") + line.signature[8:])
    for checkpoint, altered, verifier in (
        (replace(CHECKPOINT, size=8), line, signer.verifier),
        (CHECKPOINT, later, signer.verifier),
        (CHECKPOINT, replace(line, signature=b""), signer.verifier),
        (CHECKPOINT, line, other.verifier),
    ):
        with pytest.raises(BadSignature):
            verify_line(checkpoint, altered, verifier)


def test_a_publishers_signature_is_no_cosignature() -> None:
    signer = log_signer(mill(), 0)
    line = sign(CHECKPOINT, signer)
    assert verify_line(CHECKPOINT, line, signer.verifier) is None
    with pytest.raises(BadSignature):
        verify_line(CHECKPOINT, line, cosigner(mill(), 0).verifier)


def test_a_certificate_is_the_federations_line_under_what_it_certifies(tmp_path: Path) -> None:
    made = mill()
    assert made.state.federation_key is not None
    key, chain_id = made.state.federation_key.key, made.rules.chain_id
    checkpoint = publish(tmp_path, made, range(4))
    line = decode_note((tmp_path / "checkpoint").read_bytes()).lines[-1]
    verify_certificate_line(checkpoint, line, key, chain_id)
    with pytest.raises(BadSignature, match="not these"):
        verify_certificate_line(replace(checkpoint, root=bytes(32)), line, key, chain_id)
    forged = replace(line, signature=line.signature[:-1] + b"\x00")
    with pytest.raises(BadSignature):
        verify_certificate_line(checkpoint, forged, key, chain_id)


def test_log_keys_are_a_replicas_own_word() -> None:
    made = mill()
    chain_id, own = made.rules.chain_id, made.replicas[0].public_key
    assert open_keys(sealed_keys(made, 0), chain_id, own) == log_keys(made, 0)
    stolen = seal_keys(log_keys(made, 0), made.replicas[1].sign)
    for data in (sealed_keys(made, 1), stolen, b""):
        with pytest.raises(DecodeError):
            open_keys(data, chain_id, own)
    with pytest.raises(DecodeError):
        open_keys(sealed_keys(made, 0), bytes(32), own)


def test_a_policy_names_a_strong_quorum_of_cosigners() -> None:
    made = mill()
    stated = {made.replicas[n].public_key: log_keys(made, n) for n in range(4)}
    text = policy(made.state.membership, stated)
    assert text.endswith(
        "group federation 3 replica-0 replica-1 replica-2 replica-3\nquorum federation\n"
    )
    for line in text.splitlines():
        if line.startswith(("log", "witness")):
            decode_vkey(line.split(" ")[-1])
    few = dict(list(stated.items())[:2])
    with pytest.raises(DecodeError, match="2 of 4"):
        policy(made.state.membership, few)
