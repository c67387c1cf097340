"""How many commits and how many votes a second one replica's journal takes.

Prints one JSON object.  The disk that matters is the one DIRECTORY is on.

    python benchmarks/journal.py [DIRECTORY]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bft.codec.canonical import encode
from bft.ordering.batch import Batch
from bft.pbft.events import Persist, Prune
from chain.records.score_log import Ordered
from coordinator.effects import Append
from coordinator.service.journal import Durable, Journal

SECONDS = 2.0
VOTE_BYTES = 600  # about a prepared proof of four replicas
BATCH_BYTES = 4_000  # a score of small requests


def batch(sequence: int) -> Append:
    """A decided batch as it comes from the core."""
    data = encode(Batch(timestamp_ms=sequence, requests=(bytes(BATCH_BYTES),)))
    return Append(
        sequence=sequence,
        batch=data,
        proof=bytes(300),
        first_index=sequence - 1,
        records=(Ordered(sequence=sequence, agreed_ms=sequence, batch=data),),
    )


def measure(path: Path, votes: int) -> dict[str, float]:
    """Commits of `votes` promises and one batch each, for SECONDS; pruned as checkpoints do."""
    journal = Journal(path, bytes(32), bytes(33))
    lsn = commits = 0
    latencies = []
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        work: list[Durable] = [
            Persist(lsn + step, bytes(VOTE_BYTES)) for step in range(1, votes + 1)
        ]
        lsn += votes
        commits += 1
        work.append(batch(commits))
        if commits % 128 == 0:
            work.append(Prune(lsn - votes))
        before = time.perf_counter()
        journal.commit(work)
        latencies.append(time.perf_counter() - before)
    elapsed = time.perf_counter() - started
    journal.close()
    latencies.sort()
    return {
        "votes_per_commit": votes,
        "commits_per_s": round(commits / elapsed, 1),
        "votes_per_s": round(lsn / elapsed, 1),
        "median_ms": round(1000 * latencies[len(latencies) // 2], 2),
        "p99_ms": round(1000 * latencies[len(latencies) * 99 // 100], 2),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=None)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as root:
        figures = [measure(Path(root) / f"{votes}.db", votes) for votes in (2, 16, 64)]
    json.dump({"journal": figures}, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
