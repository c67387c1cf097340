"""Score rows are taken only whole, with their proofs, under the certificate."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.merkle import Tree
from bft.errors import DecodeError, FederationError
from chain.federation.contribution import read_contribution
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.evaluation import ScoreRow
from tests.chain.audit.mill import Mill

URL = "http://replica"


@pytest.fixture(scope="module")
def cycle() -> tuple[BlockCertificate, tuple[ScoreRow, ...]]:
    """A certificate and all its rows."""
    mill = Mill().found().to_block()
    certificate, _ = decode_certificate(mill.state.certificate)
    assert mill.state.scored is not None
    return certificate, mill.state.scored.rows


def served(rows: tuple[ScoreRow, ...], miner: bytes) -> dict[str, Any]:
    tree = Tree([encode(row) for row in rows])
    told = [
        {"index": i, "row": encode(row).hex(), "proof": [each.hex() for each in tree.proof(i)]}
        for i, row in enumerate(rows)
        if row.miner == miner
    ]
    return {"size": len(rows), "rows": told, "cycle": rows[0].cycle}


Cycle = tuple[BlockCertificate, tuple[ScoreRow, ...]]


def read(cycle: Cycle, answer: object, expected: tuple[ScoreRow, ...]) -> Any:
    return read_contribution(URL, json.dumps(answer).encode(), expected, cycle[0])


def test_rows_with_their_proofs_are_read(cycle: Cycle) -> None:
    _, rows = cycle
    for miner in {row.miner for row in rows}:
        own = tuple(row for row in rows if row.miner == miner)
        size, proven = read(cycle, served(rows, miner), own)
        assert size == len(rows)
        assert tuple(each.row for each in proven) == own


def test_whatever_is_changed_is_refused(cycle: Cycle) -> None:
    """A row more, a row less, other tickets, another place, another proof, no hex, no JSON."""
    _, rows = cycle
    own = tuple(row for row in rows if row.miner == rows[0].miner)
    good = served(rows, rows[0].miner)
    row = good["rows"][0]
    forged = encode(replace(rows[0], tickets=rows[0].tickets + 1)).hex()
    bad: list[object] = [
        good | {"rows": []},
        good | {"rows": [row, row]},
        good | {"rows": [row | {"row": forged}]},
        good | {"rows": [row | {"index": row["index"] + 1}]},
        good | {"rows": [row | {"index": -1}]},
        good | {"rows": [row | {"proof": row["proof"][1:]}]},
        good | {"rows": [row | {"proof": ["00" * 32] * 100}]},
        good | {"rows": [row | {"proof": ["zz"]}]},
        good | {"rows": [row | {"row": "zz"}]},
        good | {"size": 0},
        good | {"size": -1},
        {"rows": 1},
        [],
    ]
    for answer in bad:
        with pytest.raises(FederationError):
            read(cycle, answer, own)
    with pytest.raises(DecodeError):
        read_contribution(URL, b"{", own, cycle[0])
    with pytest.raises(FederationError):
        read(cycle, good, (rows[1],))
