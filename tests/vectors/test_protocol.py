"""The vectors follow from the code, and the code refuses what they say must be refused."""

import json
from typing import Any

import pytest

from bft.codec.canonical import Record, decode
from bft.codec.envelope import open_as
from bft.crypto import bls
from bft.crypto.hashing import sha256
from bft.dkg.fold import apply, close
from bft.dkg.messages import DkgDealing, DkgKeys
from bft.dkg.transcript import open_resharing
from bft.errors import BadSignature, DecodeError, Refused
from bft.ordering.proof import verify_quorum_proof
from bft.ordering.request import Request
from chain.receipts import open_execution_receipt, verify_receipt
from chain.records.commands import split_operations
from chain.records.contribution import Profile, Register
from chain.records.evaluation import EvaluationRow, ScoreRow
from chain.records.operations import decode_operation
from chain.rules import membership
from chain.validation import verify_certificate, verify_contribution
from tests.oracle import members
from tests.vectors.cast import MEMBERSHIP
from tests.vectors.generate import PATH, text
from tests.vectors.plain import plain

VECTORS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
RECORDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (EvaluationRow, Profile, Register, Request, ScoreRow)
}
bytes_of = bytes.fromhex


def refusals(section: Any) -> list[Any]:
    """One test each, named by why."""
    return [pytest.param(case, id=case["why"]) for case in section["refused"]]


def test_the_committed_vectors_are_what_the_code_makes() -> None:
    """`python -m tests.vectors.generate` writes them anew, after a change of the protocol."""
    assert PATH.read_text(encoding="utf-8") == text()


def test_every_accepted_record_decodes() -> None:
    for case in VECTORS["records"]["accepted"]:
        decode(RECORDS[case["record"]], bytes_of(case["encoded"]))


@pytest.mark.parametrize("case", refusals(VECTORS["records"]))
def test_bytes_that_are_no_record_are_refused(case: Any) -> None:
    with pytest.raises(DecodeError):
        decode(RECORDS[case["record"]], bytes_of(case["encoded"]))


@pytest.mark.parametrize("case", refusals(VECTORS["envelope"]))
def test_an_envelope_that_nobody_signed_is_refused(case: Any) -> None:
    open_as(Register, bytes_of(VECTORS["envelope"]["envelope"]))
    with pytest.raises((BadSignature, DecodeError)):
        open_as(Register, bytes_of(case["envelope"]))


def check_proof(data: str) -> int:
    proof = VECTORS["ordering"]["quorum_proof"]
    digest, sequence = bytes_of(proof["digest"]), proof["sequence"]
    return verify_quorum_proof(bytes_of(data), MEMBERSHIP, sequence, digest)


def test_every_strong_quorum_proves_the_batch() -> None:
    proof = VECTORS["ordering"]["quorum_proof"]
    assert [check_proof(data) for data in proof["accepted"]] == [proof["view"]] * 2


@pytest.mark.parametrize("case", refusals(VECTORS["ordering"]["quorum_proof"]))
def test_a_proof_without_a_strong_quorum_is_refused(case: Any) -> None:
    with pytest.raises((BadSignature, DecodeError)):
        check_proof(case["proof"])


def test_commands_come_apart_into_their_operations() -> None:
    case = VECTORS["ordering"]["commands"]
    parts = split_operations(bytes_of(case["operation"]))
    assert [part.hex() for part in parts] == case["operations"]


@pytest.mark.parametrize("case", refusals(VECTORS["ordering"]["commands"]))
def test_commands_that_are_none_are_refused(case: Any) -> None:
    with pytest.raises(DecodeError):
        split_operations(bytes_of(case["operation"]))


def test_a_list_with_operations_that_are_none_is_still_one() -> None:
    """Each is executed for itself: only those that are none are malformed."""
    case = VECTORS["ordering"]["commands"]["each_for_itself"]
    malformed = []
    for place, operation in enumerate(split_operations(bytes_of(case["operation"]))):
        try:
            decode_operation(operation)
        except DecodeError:
            malformed.append(place)
    assert malformed == case["malformed"]


def test_members_have_names_that_show_and_addresses_that_can_be_dialled() -> None:
    case = VECTORS["member_texts"]
    for name in map(bytes_of, case["names"]):
        assert membership.text(name, "utf-8")
        assert members.printable(name), "the oracle"
    for name in map(bytes_of, case["no_names"]):
        assert not membership.text(name, "utf-8")
        assert not name or not members.printable(name), "the oracle"
    for addresses, fits in ((case["addresses"], True), (case["no_addresses"], False)):
        for address in map(bytes_of, addresses):
            assert membership.is_address(address) == members.is_address(address) == fits


def test_every_weak_quorum_makes_a_receipt() -> None:
    case = VECTORS["ordering"]["receipt"]
    for data in case["accepted"]:
        verified = verify_receipt(bytes_of(data), MEMBERSHIP)
        assert plain(verified) == case["fields"]
        assert verified.request == sha256(bytes_of(VECTORS["ordering"]["requests"][0]["sealed"]))
    for replica, data in enumerate(case["sealed"]):
        opened = open_execution_receipt(bytes_of(data), MEMBERSHIP)
        assert opened == (replica, verified)


@pytest.mark.parametrize("case", refusals(VECTORS["ordering"]["receipt"]))
def test_a_receipt_without_a_weak_quorum_is_refused(case: Any) -> None:
    with pytest.raises(DecodeError):
        verify_receipt(bytes_of(case["receipt"]), MEMBERSHIP)


@pytest.mark.parametrize("case", refusals(VECTORS["signatures"]))
def test_a_signature_that_is_none_is_refused_alone_and_in_a_batch(case: Any) -> None:
    item = tuple(bytes_of(case[name]) for name in ("key", "signature", "message"))
    with pytest.raises(BadSignature):
        bls.verify(*item)
    with pytest.raises(BadSignature):
        bls.verify_batch([item, item])  # type: ignore[list-item]


def test_every_accepted_certificate_verifies() -> None:
    section = VECTORS["certificates"]
    key, chain_id = bytes_of(section["federation_key"]), bytes_of(section["chain_id"])
    for case in section["accepted"]:
        found = verify_certificate(bytes_of(case["certificate"]), key, chain_id)
        assert found.body().hex() == case["body"]


@pytest.mark.parametrize("case", refusals(VECTORS["certificates"]))
def test_a_certificate_that_is_none_is_refused(case: Any) -> None:
    section = VECTORS["certificates"]
    key, chain_id = bytes_of(section["federation_key"]), bytes_of(section["chain_id"])
    with pytest.raises((BadSignature, DecodeError, Refused)):
        verify_certificate(bytes_of(case["certificate"]), key, chain_id)


def check_contribution(case: Any) -> None:
    section, certificates = VECTORS["contributions"], VECTORS["certificates"]
    key, chain_id = bytes_of(certificates["federation_key"]), bytes_of(certificates["chain_id"])
    certificate = verify_certificate(bytes_of(section["certificate"]), key, chain_id)
    proof = [bytes_of(hashed) for hashed in case["proof"]]
    verify_contribution(bytes_of(case["row"]), case["index"], case["size"], proof, certificate)


def test_every_contribution_stands_under_its_certificate() -> None:
    for case in VECTORS["contributions"]["accepted"]:
        check_contribution(case)


@pytest.mark.parametrize("case", refusals(VECTORS["contributions"]))
def test_a_contribution_elsewhere_is_refused(case: Any) -> None:
    with pytest.raises(DecodeError):
        check_contribution(case)


# Sessions


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["why"]) for c in VECTORS["sessions"]["void"]]
)
def test_what_the_vectors_call_void_is_void(case: Any) -> None:
    resharing = VECTORS["sessions"]["resharing"]
    transcript = open_resharing(
        bytes_of(resharing["chain_id"]),
        resharing["epoch"],
        resharing["attempt"],
        tuple(map(bytes_of, resharing["receivers"])),
        resharing["threshold"],
        tuple(map(bytes_of, resharing["dealers"])),
        tuple(map(bytes_of, resharing["old"])),
    )
    for entry in resharing["log"][:3]:
        transcript = apply(transcript, entry["author"], decode(DkgKeys, bytes_of(entry["encoded"])))
    dealing = decode(DkgDealing, bytes_of(case["encoded"]))
    after = apply(close(transcript), 1, dealing)
    assert after.dealings[0].verdict.name.lower() == case["verdict"]


def test_what_the_vectors_refuse_in_a_session_is_refused() -> None:
    resharing, (case,) = VECTORS["sessions"]["resharing"], VECTORS["sessions"]["refused"]
    members = tuple(map(bytes_of, resharing["receivers"]))
    dealers, old = (tuple(map(bytes_of, resharing[name])) for name in ("dealers", "old"))
    transcript = open_resharing(bytes_of(resharing["chain_id"]), 1, 0, members, 3, dealers, old)
    with pytest.raises(Refused) as raised:
        apply(transcript, 0, decode(DkgKeys, bytes_of(case["encoded"])))
    assert raised.value.code == "malformed"
