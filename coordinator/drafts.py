"""Profile signet: a replica's judgement of winners' drafts, and its signature under a valid one.

A draft is checked as the block that it is to become, but for solution and work; for a rank of a
cycle one draft is signed.  Like blocks, few are judged under one certificate.
Source: docs/PROTOCOL.md, section 14, "Profile signet".  Pure.
"""

from collections.abc import Callable

from bft.codec.envelope import Sign
from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coins
from chain.network import network_of
from chain.signet.draft import message_of
from chain.validation import check_draft, check_reward
from coordinator.blocks import BLOCKS_JUDGED_MAX, read_under
from coordinator.cycle.state import Phase, Rules, State
from coordinator.effects import BlockRefused, DraftSigned

SignDraft = Callable[[int, int, bytes], bytes | None]
"""(cycle, lottery rank, message) -> the identity's signature; None: not for this draft."""


def unguarded_drafts(sign: Sign) -> SignDraft:
    """Signs whatever it is asked for: where no other process can have the key."""
    return lambda cycle, rank, message: sign(message)


class DraftJudge:
    """Verdicts under the certificate in force; those before are forgotten."""

    def __init__(self, rules: Rules, key: bytes, sign: SignDraft) -> None:
        """`key`: this replica's identity, with which `sign` signs."""
        self._rules, self._network = rules, network_of(rules.genesis)
        self._key, self._sign = key, sign
        self._certificate = b""
        self._verdicts: dict[bytes, DraftSigned | BlockRefused] = {}  # by the draft's SHA-256

    def judge(self, state: State, data: bytes, coins: Coins | None) -> DraftSigned | BlockRefused:
        """`coins`: as the state's tip leaves them, or None where they are not known."""
        try:
            if not self._network.signed:
                raise Refused("unsigned-profile", f"profile {self._network.name} has no solutions")
            if state.phase != Phase.BLOCK:
                raise Refused("no-block-due", f"the cycle is in {Phase(state.phase).name}")
            if state.certificate != self._certificate:
                self._certificate, self._verdicts = state.certificate, {}
            known = self._verdicts.get(sha256(data))
            return known or self._judge(state, data, coins)
        except Refused as error:
            return BlockRefused(error.code, str(error))
        except DecodeError as error:
            return BlockRefused("malformed", str(error))

    def _judge(self, state: State, data: bytes, coins: Coins | None) -> DraftSigned | BlockRefused:
        block, parent = read_under(state, data)
        check_draft(block, parent, self._network)
        if len(self._verdicts) >= BLOCKS_JUDGED_MAX:
            raise Refused("too-many-blocks", "the winner has made two drafts already")
        verdict: DraftSigned | BlockRefused
        try:
            check_reward(block, self._rules.params, coins)
            verdict = self._signed(state, message_of(block, self._network))
        except Refused as error:
            if error.code == "coins-unknown":
                raise
            verdict = BlockRefused(error.code, str(error))
        self._verdicts[sha256(data)] = verdict
        return verdict

    def _signed(self, state: State, message: bytes) -> DraftSigned:
        signature = self._sign(state.cycle, state.rank, message)
        if signature is None:
            raise Refused("another-draft", "this key signed for another draft of that rank")
        return DraftSigned(self._key, signature)
