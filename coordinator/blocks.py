"""A replica's judgement of blocks that arrive: each is judged once, and few under one certificate.

A block's scripts can keep a replica busy for seconds.  Only the winner's signature leads to them,
so only a winner can ask for that, and a winner has one block: the honest one needs no more.
Pure.
"""

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coins
from chain.network import network_of
from chain.records.block import Block, decode_block
from chain.validation import ParentView, check_authorship, check_reward
from coordinator.cycle.state import Phase, Rules, State
from coordinator.effects import BlockAccepted, BlockRefused

BLOCKS_JUDGED_MAX = 2
"""Signed blocks under one certificate: the winner's, and one more, which shows that it made two."""

Verdict = tuple[BlockAccepted | BlockRefused, bytes]
"""What is said, and the block's header."""


def read_under(state: State, data: bytes) -> tuple[Block, ParentView]:
    """A block of the certificate in force, which is verified, and what it must stand on.

    Raises:
        DecodeError: malformed; Refused: "void-certificate".
    """
    block, tip = decode_block(data), state.tip
    if block.coinbase.certificate != state.certificate:
        raise Refused("void-certificate", "another certificate is in force")
    return block, ParentView(hash=tip.hash, height=tip.height, time=tip.time)


class BlockJudge:
    """Verdicts under the certificate in force; those before are forgotten."""

    def __init__(self, rules: Rules) -> None:
        self._rules, self._network = rules, network_of(rules.genesis)
        self._certificate = b""
        self._verdicts: dict[bytes, Verdict] = {}  # by the SHA-256 of the block

    def judge(self, state: State, data: bytes, coins: Coins | None) -> Verdict:
        """`coins`: as the state's tip leaves them, or None where they are not known."""
        try:
            if state.phase not in (Phase.BLOCK, Phase.FINALITY):
                raise Refused("no-block-due", f"the cycle is in {Phase(state.phase).name}")
            if state.certificate != self._certificate:
                self._certificate, self._verdicts = state.certificate, {}
            known = self._verdicts.get(sha256(data))
            return known or self._judge(state, data, coins)
        except Refused as error:
            return BlockRefused(error.code, str(error)), b""
        except DecodeError as error:
            return BlockRefused("malformed", str(error)), b""

    def _judge(self, state: State, data: bytes, coins: Coins | None) -> Verdict:
        block, parent = read_under(state, data)
        check_authorship(block, parent, self._network)
        if len(self._verdicts) >= BLOCKS_JUDGED_MAX:
            raise Refused("too-many-blocks", "the winner has made two blocks already")
        said: BlockAccepted | BlockRefused = BlockAccepted(parent.height + 1, block.hash, data)
        try:
            check_reward(block, self._rules.params, coins)
        except Refused as error:
            if error.code == "coins-unknown":
                raise
            said = BlockRefused(error.code, str(error))
        verdict = said, block.header.encode()
        self._verdicts[sha256(data)] = verdict
        return verdict
