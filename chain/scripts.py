"""Scripts that take long are run elsewhere: what is asked, and what is known when it is answered.

Whether a transaction's scripts let it spend what it names depends on its bytes alone, because the
ids of what it spends name those outputs.  So the answer stays true whatever happens meanwhile.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.errors import Refused
from chain.bitcoin.ledger import Coin, check_scripts, signed_bytes
from chain.bitcoin.verify import claimed_checks
from chain.records.block import CertifiedHeader
from chain.records.transaction import Transaction, TxOut, decode_transaction

SCRIPT_BYTES_HERE = 24_000  # of one block that are run at once; about 50 ms
SIGNED_BYTES_HERE = 2**26
CHECKS_HERE = 400
WAITING_MAX = 4  # blocks whose scripts are being run
RUN_MAX = 65_536  # transactions whose scripts were run, and that are remembered

Job = tuple[bytes, tuple[tuple[int, bytes], ...]]
"""A transaction, and (value, script) of each output that it spends."""
Verdict = tuple[str, str] | None
"""Code and text of the refusal; None: all is well."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A block that is valid if its scripts are."""

    data: bytes
    known: CertifiedHeader | None
    source: int | None  # the peer that brought it
    ids: tuple[bytes, ...]  # of the transactions that are being run, with their witnesses


class Due:
    """Collects what one block asks to be run."""

    def __init__(self) -> None:
        self._due: list[tuple[Transaction, tuple[Coin, ...]]] = []
        self._bytes = self._hashed = self._checks = 0

    def add(self, transaction: Transaction, spent: tuple[Coin, ...]) -> None:
        """One transaction (chain.bitcoin.ledger.connect's `run`)."""
        self._due.append((transaction, spent))
        self._hashed += signed_bytes(transaction, spent)
        self._checks += claimed_checks(transaction)
        for entry, coin in zip(transaction.inputs, spent, strict=True):
            self._bytes += len(entry.script) + len(coin.output.script)
            self._bytes += sum(len(item) for item in entry.witness)

    @property
    def heavy(self) -> bool:
        """Whether running all would keep this thread for long."""
        return (
            self._bytes > SCRIPT_BYTES_HERE
            or self._hashed > SIGNED_BYTES_HERE
            or self._checks > CHECKS_HERE
        )

    def run(self) -> None:
        """All of them, now.  Raises Refused, as `check_scripts`."""
        for transaction, spent in self._due:
            check_scripts(transaction, spent)

    @property
    def ids(self) -> tuple[bytes, ...]:
        """wtxids."""
        return tuple(transaction.wtxid for transaction, _ in self._due)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them, for another process."""
        return tuple(
            (transaction.encode(), tuple((c.output.value, c.output.script) for c in spent))
            for transaction, spent in self._due
        )


def run_jobs(jobs: Sequence[Job]) -> Verdict:
    """What a worker process does."""
    for data, outputs in jobs:
        spent = [Coin(TxOut(value=value, script=script), 0, False) for value, script in outputs]
        try:
            check_scripts(decode_transaction(data), spent)
        except Refused as error:
            return error.code, str(error)
    return None
