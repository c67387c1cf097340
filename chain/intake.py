"""Taking in what is true: blocks, the federation's word on them, evidence.

Knows no peers; what others should hear is an `Announce`.
Source: docs/PROTOCOL.md, "Blocks".
Pure.
"""

from collections.abc import Callable

from bft.errors import Refused
from chain.ahead import CoinsAhead
from chain.bitcoin.ledger import COINBASE_MATURITY, Coins
from chain.gossip_events import (
    Announce,
    CheckScripts,
    SaveBlock,
    SaveEvidence,
    SaveFinal,
    SaveFinality,
    ScriptsChecked,
    Taken,
)
from chain.params import Params
from chain.records.block import (
    HEADER_BYTES,
    Block,
    CertifiedHeader,
    block_hash,
    decode_block,
)
from chain.records.coinbase import CARRIED_EVIDENCE_BYTES_MAX
from chain.records.evidence import (
    Equivocation,
    Evidence,
    FederationFault,
    Finality,
    contradict,
    encode_evidence,
    federation_fault,
)
from chain.records.peer_message import encode_inventory
from chain.records.profile import Profile, profile_of
from chain.records.transaction import Transaction
from chain.rules.limits import FUTURE_S_MAX
from chain.scripts import RUN_MAX, WAITING_MAX, Due, Waiting
from chain.tree import BlockTree, Change, Finalised, TipChanged
from chain.validation import (
    ParentView,
    check_alone,
    check_authorship,
    check_reward,
    verify_certificate,
    verify_evidence,
    verify_finality,
)
from chain.voiding import convicted

EVIDENCE_MAX = 256  # pieces that one node keeps


class Intake:
    """The block tree with what was saved beside it."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        federation_key: bytes,
        params: Params,
        tree: BlockTree,
        coins: Coins,
        stored: Callable[[bytes], Block | None],
        evidence: tuple[Evidence, ...] = (),
        verified: Callable[[Transaction], bool] | None = None,
        profile: Profile | None = None,
    ) -> None:
        """All from the store: `coins` after the final block, `stored` a block by its hash.

        `profile`: by chain/network.py; None where `params` say it all, as they do but for signet.
        `verified`: see `chain.bitcoin.ledger.connect`.
        """
        self._verified = verified
        self._run: dict[bytes, None] = {}  # transactions whose scripts were run, oldest first
        self.waiting: dict[bytes, Waiting] = {}  # blocks whose scripts are being run
        self._ahead, self._stored = CoinsAhead(coins, self.find), stored
        self._unsaved: dict[bytes, Block] = {}  # taken in since the last step
        self.chain_id, self.federation_key, self.params = chain_id, federation_key, params
        self.profile = profile_of(params.profile) if profile is None else profile
        self.tree = tree
        self.pending: Finality | None = None  # highest word on a block that we do not have
        self.fault = next((e for e in evidence if isinstance(e, FederationFault)), None)
        self._convicted = {_subject(piece) for piece in evidence}
        self._winners = [piece for piece in evidence if isinstance(piece, Equivocation)]

    def saved(self) -> None:
        """A new step begins: what the steps before gave to the store is there."""
        self._unsaved.clear()

    def knows(self, data: bytes) -> bool:
        """Whether this block is in the tree already."""
        return self.tree.find(block_hash(data[:HEADER_BYTES])) is not None

    def block(
        self,
        data: bytes,
        now_ms: int,
        known: CertifiedHeader | None = None,
        source: int | None = None,
        *,
        proven: bool = False,
    ) -> tuple[Taken, ...]:
        """Check and take one block; one whose scripts take long becomes `waiting` for them.

        Args:
            known: its header, if that was found valid on its parent before.
            source: the peer that brought it.
            proven: a verified certificate names it as its parent, so the federation finalised it.

        Raises:
            DecodeError, BadSignature, Refused: see `validate_block` and `BlockTree.add`; further
                codes "from-the-future", "federation-fault" (this node is halted).
        """
        if self.fault is not None:
            raise Refused("federation-fault", "the federation contradicted itself; see the log")
        if self.knows(data) or block_hash(data[:HEADER_BYTES]) in self.waiting:
            return ()
        block = decode_block(data)
        certified = block.certified_header if known is None else known
        if known is None:
            verify_certificate(block.coinbase.certificate, self.federation_key, self.chain_id)
        fault = self.tree.fault_of(certified)
        if fault is not None:
            return self.convict(fault)
        said = self.pending is not None and self.pending.block == block.hash
        wanted = said or proven
        if not wanted:
            self.tree.check_twins(certified)  # two blocks of a winner are looked at, no more
        parent = self.tree.find(block.header.previous)
        if parent is None:
            check_alone(certified, self.profile)
        else:
            check_authorship(block, parent, self.profile, known)
        if block.header.time > now_ms // 1000 + FUTURE_S_MAX:
            raise Refused("from-the-future", f"block time {block.header.time} is too far ahead")
        if parent is not None:
            due = Due()
            coins = self.coins_after(parent)
            check_reward(block, self.params, coins, self._was_run, due.add)
            if due.heavy:
                self._check_room(known)
                self.waiting[block.hash] = Waiting(data, known, source, due.ids)
                return (CheckScripts(block=block.hash, jobs=due.jobs),)
            due.run()
        self.tree, changes = self.tree.add(certified, wanted=wanted)
        if self.tree.find(block.hash) is None:
            return self._carry(changes)  # evidence against the final block's winner
        self._unsaved[block.hash] = block
        taken = (SaveBlock(block=block), *self._carry(changes))
        taken += (Announce(command="inv", payload=encode_inventory((block.hash,))),)
        if said and self.pending is not None:
            taken += self.finality(self.pending)
        return taken

    def _was_run(self, transaction: Transaction) -> bool:
        return transaction.wtxid in self._run or (
            self._verified is not None and self._verified(transaction)
        )

    def _check_room(self, known: CertifiedHeader | None) -> None:
        """Raises Refused: "busy"."""
        if known is None and len(self.waiting) >= WAITING_MAX:
            raise Refused("busy", "the scripts of other blocks are being run")

    def scripts_checked(self, event: ScriptsChecked) -> Waiting | None:
        """The block that waited for it, which can be taken now if all was well."""
        waiting = self.waiting.pop(event.block, None)
        if waiting is not None and event.verdict is None:
            self._run |= dict.fromkeys(waiting.ids)
            while len(self._run) > RUN_MAX:
                del self._run[next(iter(self._run))]
        return waiting

    def coins_after(self, parent: ParentView) -> Coins:
        """The coins as a block of the tree leaves them."""
        return self._ahead.after(self.tree, parent)

    def coins_after_tip(self) -> Coins:
        """The coins that the next block may spend."""
        return self.coins_after(self.tree.tip)

    def due_evidence(self) -> bytes:
        """What the next block's coinbase can carry to void a reward; empty if there is none."""
        coins = self.coins_after_tip()
        for evidence in self._winners:
            data, found = encode_evidence(evidence), convicted(evidence)
            here = [coins.coin((txid, 0)) for txid in found.coinbases]
            young = coins.height + 1 < found.height + COINBASE_MATURITY
            if young and any(here) and len(data) <= CARRIED_EVIDENCE_BYTES_MAX:
                return data
        return b""

    @property
    def convicted_winners(self) -> tuple[Equivocation, ...]:
        """What this node has against winners."""
        return tuple(self._winners)

    def find(self, block: bytes) -> Block:
        """A block of the tree; those of this very step are not in the store yet."""
        found = self._unsaved.get(block) or self._stored(block)
        assert found is not None, "every block of the tree is kept"
        return found

    def finality(self, finality: Finality) -> tuple[Taken, ...]:
        """Take the federation's word on a block; it is kept as `pending` until the block comes.

        Raises:
            BadSignature: it is not the federation's word.
            Refused: the block has another height than that.
        """
        if self.fault is not None or finality == self.tree.finality:
            return ()
        if finality != self.pending:
            verify_finality(
                self.federation_key,
                self.chain_id,
                finality.height,
                finality.block,
                finality.signature,
            )
        fault = self.tree.fault_of_finality(finality)
        if fault is None and self.pending is not None and contradict(self.pending, finality):
            fault = federation_fault(self.pending.encode(), finality.encode())
        if fault is not None:
            return self.convict(fault)
        if finality.height < self.tree.final.height:
            return ()
        if self.tree.find(finality.block) is None:
            if self.pending is None or finality.height > self.pending.height:
                self.pending = finality
            return ()
        self.tree, changes = self.tree.finalise(finality)
        if self.pending is not None and self.pending.height <= finality.height:
            self.pending = None
        announce = Announce(command="finality", payload=finality.encode())
        return (*self._carry(changes), SaveFinality(finality=finality), announce)

    def evidence(self, data: bytes) -> tuple[Taken, ...]:
        """Take evidence from outside.  Raises as `verify_evidence`."""
        return self.convict(verify_evidence(data, self.federation_key, self.chain_id, self.profile))

    def _carry(self, changes: tuple[Change, ...]) -> tuple[Taken, ...]:
        taken: tuple[Taken, ...] = ()
        for change in changes:
            match change:
                case Finalised():
                    taken += (SaveFinal(view=change.view),)
                case TipChanged():
                    taken += (change,)
                case Equivocation() | FederationFault():
                    taken += self.convict(change)
        return taken

    def convict(self, evidence: Evidence) -> tuple[Taken, ...]:
        """Keep evidence and pass it on, once for each subject; a fault halts this node."""
        fault = isinstance(evidence, FederationFault)
        subject = _subject(evidence)
        if subject in self._convicted or (len(self._convicted) >= EVIDENCE_MAX and not fault):
            return ()
        self._convicted.add(subject)
        if isinstance(evidence, FederationFault):
            self.fault = evidence
        else:
            self._winners.append(evidence)
        data = encode_evidence(evidence)
        announce = Announce(command="evidence", payload=data)
        return (SaveEvidence(data=data, fault=fault), announce)


def _subject(evidence: Evidence) -> bytes:
    """What is convicted: one certificate's winner, or the federation."""
    if isinstance(evidence, Equivocation):
        return evidence.first.coinbase.certificate
    return b"federation"
