"""Faults planted in a node that follows the chain, and in what voids a reward."""

from tests.mutants.mutant import Mutant

SYNC = ("tests/chain/test_sync.py",)
VOIDING = ("tests/chain/test_voiding.py",)
ELSEWHERE = ("tests/chain/test_scripts_elsewhere.py",)

NODE = (
    Mutant(
        "headers-on-trust",
        "a header is kept only with a valid certificate",
        SYNC,
        ("chain/sync.py", "        verify_certificates(\n", "        (lambda *_: None)(\n"),
    ),
    Mutant(
        "two-chains-believed",
        "two chains of certified headers are a fault of the federation",
        SYNC,
        ("chain/sync.py", "chain.fault_of(certified) or ", "None or "),
    ),
    Mutant(
        "proof-forgotten",
        "what the next certificate proves is taken, whatever else its winner made",
        SYNC,
        ("chain/intake.py", "wanted = said or proven", "wanted = said"),
    ),
    Mutant(
        "slow-peer-waited-for",
        "what one peer does not bring is asked of another",
        SYNC,
        ("chain/download.py", "now_ms - asked_ms > RETRY_MS", "False"),
    ),
    Mutant(
        "window-without-end",
        "bodies wait within a window",
        SYNC,
        ("chain/headers.py", "zip(range(WINDOW), ", "zip(range(10 * WINDOW), "),
    ),
    Mutant(
        "any-nonce",
        "a header has one nonce only",
        ("tests/chain/records/test_profile.py",),
        (
            "chain/validation.py",
            "    allowed = (BLOCK_VERSION, profile.bits, profile.nonce(header.encode()))\n",
            "    allowed = (BLOCK_VERSION, profile.bits, header.nonce)\n",
        ),
    ),
    Mutant(
        "unsigned-evidence",
        "both blocks of an equivocation are signed by the winner",
        VOIDING,
        ("chain/voiding.py", "        _check_signed(each)\n", "        pass\n"),
    ),
    Mutant(
        "two-certificates-convict",
        "a winner may make a block under each of its certificates",
        VOIDING,
        (
            "chain/voiding.py",
            "    if first.coinbase.certificate != second.coinbase.certificate:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "mature-reward-voided",
        "a reward is void only while it cannot be spent",
        VOIDING,
        (
            "chain/bitcoin/ledger.py",
            "            if found.height < height < found.height + COINBASE_MATURITY:\n",
            "            if True:\n",
        ),
    ),
    Mutant(
        "evidence-unseen",
        "who does not know the coins does not judge evidence",
        VOIDING,
        ("chain/validation.py", " or block.coinbase.evidence:", ":"),
    ),
    Mutant(
        "hashing-without-bound",
        "a block bounds what its legacy signatures hash",
        ELSEWHERE,
        (
            "chain/bitcoin/ledger.py",
            "        if hashed > SIGNED_BYTES_MAX:\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "verdict-ignored",
        "who brought a block with bad scripts goes",
        ELSEWHERE,
        ("chain/sync.py", "        if event.verdict is not None:\n", "        if False:\n"),
    ),
)
