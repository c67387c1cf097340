"""Faults planted in key generation and resharing."""

from tests.mutants.mutant import Mutant

FOLD, TRANSCRIPT = "bft/dkg/fold.py", "bft/dkg/transcript.py"
DEALING, PARTICIPANT = "bft/dkg/dealing.py", "bft/dkg/participant.py"
RESHARING = ("tests/bft/dkg/test_resharing.py",)
GENESIS = ("tests/bft/dkg/test_transcript.py", "tests/bft/dkg/test_ceremony.py")
DEALT = ("tests/bft/dkg/test_dealing.py",)

SHARING = (
    Mutant(
        "deal-any-secret",
        "a resharing deals the old shares and nothing else",
        RESHARING,
        (DEALING, "share_key is not None and dealing.commitments[0] != share_key", "False"),
    ),
    Mutant(
        "no-proof-of-knowledge",
        "nobody deals what it does not know",
        GENESIS,
        (
            DEALING,
            "return Verdict.STANDS if claimed == proof_point else Verdict.BAD_PROOF",
            "return Verdict.STANDS",
        ),
    ),
    Mutant(
        "share-without-context",
        "a sealed share fits one dealer, receiver and polynomial",
        DEALT,
        (DEALING, "encode((session, dealer, receiver, commitments))", "encode((session,))"),
    ),
    Mutant(
        "nonce-comes-again",
        "two proofs with one nonce give the secret away",
        DEALT,
        (DEALING, 'b"nonce " + b"".join(commitments)', 'b"nonce "'),
    ),
    Mutant(
        "complaint-with-any-key",
        "a complaint reveals the announced key's secret",
        GENESIS,
        (
            FOLD,
            "sealing.sealing_key(message.secret_key) != announced.keys[message.dealer]",
            "False",
        ),
    ),
    Mutant(
        "false-complaint-convicts",
        "a correct dealer cannot be removed",
        GENESIS,
        (FOLD, "        proven = 0\n", "        proven = 1\n"),
    ),
    Mutant(
        "low-order-keys",
        "everybody can seal to a key that was taken",
        GENESIS,
        (FOLD, "            sealing.check_sealing_key(key)\n", "            pass\n"),
    ),
    Mutant(
        "second-dealing",
        "a dealer deals once",
        GENESIS,
        (FOLD, "    if transcript.dealt_by(author) is not None:\n", "    if False:\n"),
    ),
    Mutant(
        "role-of-a-receiver",
        "who joins deals nothing, who leaves receives nothing",
        RESHARING,
        (
            "bft/dkg/messages.py",
            "return Role.DEALER if isinstance(message, DkgDealing) else Role.RECEIVER",
            "return Role.RECEIVER",
        ),
    ),
    Mutant(
        "goes-on-with-one-receiver",
        "a new sharing has t holders",
        RESHARING,
        (FOLD, "len(transcript.keys) >= transcript.threshold", "len(transcript.keys) >= 1"),
    ),
    Mutant(
        "goes-on-with-nobody-ready",
        "t receivers have looked at their shares",
        RESHARING,
        (FOLD, "len(transcript.ready) >= transcript.threshold", "True"),
    ),
    Mutant(
        "genesis-without-everybody",
        "the genesis ceremony insists on all members",
        (*GENESIS, *RESHARING),
        (FOLD, "    if not transcript.old:\n", "    if False:\n"),
    ),
    Mutant(
        "session-without-attempt",
        "no message serves in two attempts",
        GENESIS,
        (
            TRANSCRIPT,
            "told = (self.chain_id, self.epoch, self.attempt, ",
            "told = (self.chain_id, self.epoch, 0, ",
        ),
    ),
    Mutant(
        "session-without-old-sharing",
        "a session is that of one old sharing",
        RESHARING,
        (TRANSCRIPT, "encode((*told, self.dealers, self.old))", "encode((*told, self.dealers))"),
    ),
    Mutant(
        "as-many-dealings-as-new-shares",
        "t_old old shares make the key, whatever the new threshold",
        RESHARING,
        (TRANSCRIPT, "return len(self.old) or self.threshold", "return self.threshold"),
    ),
    Mutant(
        "deals-whatever-it-holds",
        "a correct replica with a wrong share deals nothing",
        RESHARING,
        (
            PARTICIPANT,
            "if held is None or bls.public_key(held.secret) != share_key:",
            "if held is None:",
        ),
    ),
    Mutant(
        "ready-before-complaints",
        "ready means that every complaint stands in the log",
        GENESIS,
        (PARTICIPANT, "return tuple(found) or (ready,)", "return (*found, ready)"),
    ),
)
