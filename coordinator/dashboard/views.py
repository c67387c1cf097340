"""From what a replica knows to what a page shows.  Not proven; pages link to what is.

Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chain.records.block import Block
from chain.records.evaluation import EvaluationTable
from chain.records.job import Job, Mode, sizes_of
from chain.records.phase import Phase
from chain.records.score_log import Drawn, Scored
from chain.rules.lottery import throws
from chain.rules.scoring import tickets_by_miner
from coordinator.cycle.phases.clock import duration_ms
from coordinator.cycle.state import Rules, State
from coordinator.service.membership_api import names, without_share

HOLDERS_SHOWN = 32
PHASES = {
    Phase.KEYGEN: "The members make the federation's key, without a dealer.",
    Phase.ACTIVATION: "The members sign for the first time with the new key.",
    Phase.REGISTRATION: "Miners register for the cycle.",
    Phase.TRAINING: "Miners train, and commit to their updates.",
    Phase.REVEAL: "Miners open their commitments.",
    Phase.CHALLENGE: "The beacon picks the records on which updates are measured.",
    Phase.EVALUATION: "Replicas measure what each update did.",
    Phase.DRAW: "The beacon draws a winner.",
    Phase.AGGREGATION: "Replicas merge the updates into the next model.",
    Phase.CERTIFICATION: "The federation signs the winner's certificate.",
    Phase.BLOCK: "The winner makes its block.",
    Phase.FINALITY: "The federation makes the block final.",
}


def replicas(
    state: State, standing: Mapping[str, Any], peers_up: Sequence[int]
) -> list[dict[str, Any]]:
    """One line for each member of the epoch, as this replica sees it."""
    own, lacking = standing.get("replica"), without_share(state)
    return [
        {
            "index": index,
            "operator": operator,
            "own": index == own,
            "up": index == own or index in peers_up,
            "primary": index == standing.get("primary"),
            "share": index not in lacking,
            "signed": _signed(state, index),
        }
        for index, operator in enumerate(names(state.members))
    ]


def _signed(state: State, index: int) -> str:
    """What one member has signed of late, as the log has it: it lives, and its words arrive."""
    found = (
        ("that the time is over", state.elapsed),
        ("a signature share", state.shares),
        ("its measurements", state.tables),
    )
    return ", ".join(name for name, authors in found if index in authors)


def now(rules: Rules, state: State, members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What happens just now."""
    phase = Phase(state.phase)
    limit = duration_ms(rules, phase)
    up = sum(1 for member in members if member["up"])
    return {
        "cycle": state.cycle,
        "phase": phase.name.lower(),
        "means": PHASES.get(phase, ""),
        "limit_s": None if limit is None else limit / 1000,
        "elapsed": len(state.elapsed),
        "weak": state.membership.weak,
        "up": up,
        "members": len(members),
        "strong": state.membership.strong,
        "margin": up - state.membership.strong,
        "counts": (
            ("registered for the next assignment", len(state.registrations)),
            ("work units", len(state.units)),
            ("commitments", len(state.commitments)),
            ("reveals", len(state.reveals)),
            ("evaluation tables", len(state.tables)),
        ),
    }


def spread(
    scored: Scored, tables: Mapping[int, EvaluationTable]
) -> tuple[list[int], list[dict[str, Any]]]:
    """(replicas, one line a unit): each replica's gain beside the median that counts."""
    columns = sorted(tables)
    lines = [
        {
            "row": row,
            "miner": row.miner.hex(),
            "gains": [tables[replica].rows[place].gain for replica in columns],
        }
        for place, row in enumerate(scored.rows)
    ]
    return columns, lines


def arithmetic(scored: Scored, drawn: Drawn) -> list[dict[str, Any]]:
    """The draw, rank by rank: the number drawn, and in whose tickets it lies."""
    lines = []
    tickets = tickets_by_miner(scored.rows)
    for rank, throw in enumerate(throws(drawn.randomness, tickets, len(drawn.ranks))):
        first, holders = 0, []
        for miner, count in throw.holders:
            won = miner == throw.rank.miner
            if won or len(throw.holders) <= HOLDERS_SHOWN:
                holders.append(
                    {"miner": miner.hex(), "first": first, "last": first + count - 1, "won": won}
                )
            first += count
        lines.append(
            {
                "rank": rank,
                "point": throw.point,
                "total": throw.total,
                "holders": holders,
                "hidden": len(throw.holders) - len(holders),
            }
        )
    return lines


def job(job: Job) -> dict[str, Any]:
    """What is trained."""
    sizes = ", ".join(f"{name} {value}" for name, value in sizes_of(job).items())
    return {
        "name": _text(job.name),
        "cards": (
            ("family", _text(job.family)),
            ("sizes", sizes),
            ("mode", Mode(job.mode).name.lower().replace("_", " ")),
            ("segments", job.segments),
            ("data set", _text(job.dataset)),
            ("records to train on", job.train_records),
            ("held-out records", job.heldout_records),
            ("steps in a unit", job.steps),
            ("updates", _text(job.compression)),
        ),
    }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def block(block: Block) -> dict[str, Any]:
    """A block with its transactions."""
    return {
        "height": block.certificate.height,
        "cycle": block.certificate.cycle,
        "hash": block.hash[::-1].hex(),
        "previous": block.header.previous[::-1].hex(),
        "time": block.header.time,
        "bytes": len(block.data),
        "winner": block.certificate.winner.hex(),
        "reward": block.coinbase.reward,
        "transactions": [
            {
                "txid": transaction.txid[::-1].hex(),
                "inputs": len(transaction.inputs),
                "outputs": [
                    {"value": output.value, "script": output.script.hex()}
                    for output in transaction.outputs
                ],
            }
            for transaction in block.transactions
        ],
    }
