"""Blocks of profile signet: replicas' solution, work, and what a third party may alter."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import msgspec
import pytest

from bft.errors import BadSignature, ConfigError, DecodeError, FederationError, Refused
from chain.bitcoin import signet
from chain.network import SIGNERS_MAX, magic_of, network_of
from chain.records.block import Block, CertifiedHeader, decode_block, encode_block
from chain.records.evidence import encode_evidence, equivocation
from chain.records.profile import MAIN, SIGNET, Profile
from chain.rules.founding import check_genesis
from chain.signet.draft import Collecting, message_of, with_signatures
from chain.signet.grind import NONCES, STEP, search, stripes, with_nonce
from chain.tree import BlockTree
from chain.validation import (
    check_alone,
    check_authorship,
    check_draft,
    validate_block,
    verify_evidence,
)
from chain.voiding import convicted
from tests.chain.differential.oracle import kernel_takes
from tests.chain.federation_fixture import FEDERATION_KEY, GENESIS, WINNER, key_of
from tests.chain.signet_fixture import (
    OURS,
    PARAMS,
    PROFILE,
    REPLICAS,
    START,
    draft_on,
    golden,
    signatures_of,
    solved,
)

EASY = replace(PROFILE, target=2**256 - 1)  # for what is not about work


def valid(data: bytes, profile: Profile = PROFILE) -> Block:
    return validate_block(data, FEDERATION_KEY, OURS.chain_id, PARAMS, START, profile=profile)


def core_takes(certified: CertifiedHeader) -> bool:
    """Whether Bitcoin Core's own script engine takes the solution."""
    coinbase = certified.coinbase.transaction()
    to_sign, spent = signet.solved(certified.header, coinbase, certified.branch, PROFILE.challenge)
    return kernel_takes(to_sign.encode(), 0, spent.script, spent.value, signet.FLAGS)


def altered(data: bytes, **coinbase: object) -> bytes:
    """The block with other contents under a fitting Merkle root; nobody signs or works again."""
    block = decode_block(data)
    transaction = replace(block.coinbase, **coinbase).transaction()  # type: ignore[arg-type]
    return encode_block(replace(block.header, merkle_root=transaction.txid), (transaction,))


def test_a_block_with_solution_and_work_is_valid() -> None:
    """The vector was worked for once: its genesis, layout and signatures stay as they were."""
    block = valid(golden())
    assert PROFILE.meets(block.header.encode())
    assert core_takes(block.certified_header)
    check_alone(block.certified_header, PROFILE)


def test_without_work_it_is_refused() -> None:
    with pytest.raises(Refused, match="above the target"):
        valid(with_nonce(golden(), 0))


@pytest.mark.parametrize("signers", [(0, 1, 2), (3, 1, 0), (0, 1, 2, 3)])
def test_any_strong_quorum_of_founders_solves_a_block(signers: Sequence[int]) -> None:
    assert core_takes(valid(solved(draft_on(), signers), EASY).certified_header)


def test_less_is_no_solution() -> None:
    with pytest.raises(Refused, match="2 of 3 signatures are here"):
        solved(draft_on(), (0, 1))
    two = replace(PROFILE, challenge=signet.challenge_of(OURS.membership.keys, 2))
    weak = with_signatures(draft_on(), two, signatures_of(draft_on(), (0, 1)))
    with pytest.raises(Refused, match="OP_0 and 3 signatures"):
        valid(weak, EASY)
    assert not core_takes(decode_block(weak).certified_header)


def _changed(certificate: bytes) -> bytes:
    return certificate[:100] + bytes([certificate[100] ^ 1]) + certificate[101:]


def test_what_the_replicas_signed_cannot_be_altered() -> None:
    data = solved(draft_on(), (0, 1, 2))
    block = decode_block(data)
    for other in (
        altered(data, reward=block.coinbase.reward - 1),
        altered(data, certificate=_changed(block.coinbase.certificate)),
        altered(data, signature=key_of("other").sign(block.certified_header.winner_message())),
    ):
        assert not core_takes(decode_block(other).certified_header)
        with pytest.raises(FederationError):
            valid(other, EASY)


@pytest.mark.parametrize(
    ("solution", "text"),
    [
        (None, "no slot for a solution came"),
        (b"\x00\x00", "OP_0 and 3 signatures"),
        (b"\x01\x00\x00", "OP_0 and 3 signatures"),
        (b"\x02\x00\x47\x00", "breaks off"),
    ],
)
def test_a_solution_has_one_form(solution: bytes | None, text: str) -> None:
    data = altered(solved(draft_on(), (0, 1, 2)), solution=solution)
    with pytest.raises((Refused, DecodeError), match=text):
        valid(data, EASY)


def test_a_dummy_or_a_witness_beside_the_signatures_is_refused() -> None:
    """Core takes some of them; then third parties could alter a block without working more."""
    solution = decode_block(solved(draft_on(), (0, 1, 2))).coinbase.solution
    assert solution is not None
    script, _ = signet.read_solution(solution)
    for other in (
        bytes([len(script) + 1]) + b"\x00" + script + b"\x00",
        solution[:-1] + b"\x01\x00",
    ):
        with pytest.raises((Refused, DecodeError)):
            valid(altered(solved(draft_on(), (0, 1, 2)), solution=other), EASY)


def test_other_profiles_have_no_slot_for_a_solution() -> None:
    certified = decode_block(solved(draft_on(), (0, 1, 2))).certified_header
    header = replace(certified.header, bits=MAIN.bits)
    with pytest.raises(Refused, match="a slot for a solution came; the chain is main"):
        check_alone(replace(certified, header=header), MAIN)


def test_a_draft_is_what_a_block_is_without_solution_and_work() -> None:
    draft = draft_on()
    check_draft(draft, START, PROFILE)
    for data in (solved(draft, (0, 1, 2)), altered(draft.data, solution=None)):
        with pytest.raises(Refused, match="solution"):
            check_draft(decode_block(data), START, PROFILE)
    with pytest.raises(Refused, match="bits and nonce"):
        check_draft(decode_block(with_nonce(draft.data, 1)), START, PROFILE)
    with pytest.raises(BadSignature, match="winner did not sign"):
        check_draft(decode_block(altered(draft.data, reward=1)), START, PROFILE)
    with pytest.raises((Refused, DecodeError)):
        check_authorship(draft, START, EASY)


def test_bad_signatures_and_strangers_do_not_count() -> None:
    draft, collecting = draft_on(), Collecting(draft_on(), PROFILE)
    message = message_of(draft, PROFILE)
    with pytest.raises(BadSignature):
        collecting.take(REPLICAS[0].public_key, REPLICAS[1].sign(message))
    with pytest.raises(BadSignature):
        collecting.take(
            REPLICAS[0].public_key, REPLICAS[0].sign(message_of(draft_on(reward=1), PROFILE))
        )
    with pytest.raises(Refused, match="no key of the challenge"):
        collecting.take(WINNER.public_key, WINNER.sign(message))
    for _ in range(2):
        collecting.take(REPLICAS[0].public_key, REPLICAS[0].sign(message))
    assert collecting.count == 1 and collecting.required == 3
    with pytest.raises(Refused, match="1 of 3"):
        collecting.solved()


def test_two_solutions_of_one_draft_convict_nobody() -> None:
    """Whoever has the signatures, or works once more, makes another block of the same contents."""
    first, second = (
        decode_block(solved(draft_on(), signers)).certified_header
        for signers in ((0, 1, 2), (0, 1, 3))
    )
    evidence = equivocation(first, second)
    with pytest.raises(Refused, match="the winner signed once"):
        convicted(evidence)
    with pytest.raises(Refused, match="the winner signed once"):
        verify_evidence(encode_evidence(evidence), FEDERATION_KEY, OURS.chain_id, EASY)
    tree, _ = BlockTree(final=START).add(first)
    tree, changes = tree.add(second)
    assert not any(type(change) is type(evidence) for change in changes)


def test_two_drafts_that_were_solved_convict_their_winner() -> None:
    """It takes f + 1 replicas that sign twice."""
    first, second = (
        decode_block(solved(draft_on(reward=reward), (0, 1, 2))).certified_header
        for reward in (1, 2)
    )
    evidence = equivocation(first, second)
    verify_evidence(encode_evidence(evidence), FEDERATION_KEY, OURS.chain_id, EASY)
    tree, _ = BlockTree(final=START).add(first)
    assert evidence in tree.add(second)[1]


def test_the_network_is_that_of_the_founders() -> None:
    """BIP 325: the magic is the challenge's, and block 0 is the same for all signets."""
    assert network_of(OURS).challenge == signet.challenge_of(OURS.membership.keys, 3)
    assert magic_of(OURS) == signet.message_start(PROFILE.challenge)
    assert magic_of(GENESIS) == GENESIS.chain_id[:4]
    assert START.hash[::-1].hex() == (
        "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"block_ms": SIGNET.block_ms_min - 1}, "has to work for its block"),
        ({"halving_interval": 150}, "halving_interval is 150"),
        ({"subsidy": 50 * 10**8 + 1}, "at most 5000000000"),
    ],
)
def test_what_cannot_be_founded(fields: dict[str, int], text: str) -> None:
    check_genesis(OURS)
    with pytest.raises(ConfigError, match=text):
        check_genesis(
            msgspec.structs.replace(OURS, params=msgspec.structs.replace(PARAMS, **fields))
        )


def test_more_members_than_a_bare_multisig_holds_cannot_found_one() -> None:
    many = tuple(
        msgspec.structs.replace(OURS.members[0], key=key_of(f"many {at}").public_key)
        for at in range(SIGNERS_MAX + 1)
    )
    with pytest.raises(ConfigError, match="at most 20 can sign"):
        network_of(msgspec.structs.replace(OURS, members=many))
    assert len(network_of(msgspec.structs.replace(OURS, members=many[:-1])).challenge) > 20 * 34


def test_the_search_finds_the_first_nonce_that_meets_the_target() -> None:
    header, target = golden()[:80], 2**244
    found = search(header, target, 0, NONCES)
    assert found is not None
    easy = replace(PROFILE, target=target)
    assert easy.meets(with_nonce(header, found))
    assert not any(easy.meets(with_nonce(header, nonce)) for nonce in range(found))
    assert search(header, target, 0, found) is None
    firsts = [list(stripes(worker, 3)) for worker in range(3)]
    assert sorted(chain.from_iterable(firsts)) == list(range(0, NONCES, STEP))
