"""`gristmill audit explain`: every number between an assignment and the draw, with its entry."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bft.codec.canonical import encode
from chain.audit.archive import frame, start_archive
from chain.records.score_log import LogEntry, Scored, decode_leaf
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.mill import Mill


@cache
def mill() -> Mill:
    """Two cycles; in the second one of the three miners does not reveal."""
    made = Mill().found().cycle().to_training()
    made.commit()
    made.reveal([0, 1])
    made.time_out()
    made.sign()
    made.evaluate()
    made.sign()
    made.aggregate()
    made.sign()
    made.witness()
    made.sign()
    return made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("log") / "log.grist"
    write(path, mill().entries)
    return str(path)


def write(path: Path, entries: list[LogEntry]) -> None:
    with path.open("wb") as file:
        start_archive(file, encode(mill().genesis))
        file.writelines(frame(encode(entry)) for entry in entries)


def scored(cycle: int) -> Scored:
    records = (decode_leaf(entry.leaf) for entry in mill().entries)
    return next(r for r in records if isinstance(r, Scored) and r.cycle == cycle)


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["audit", "explain", *arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert isinstance(data, dict)
    return data


def test_every_number_is_the_logs(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    for row in scored(1).rows:
        told = explained(capsys, row.miner.hex()[:10].upper(), "--cycle", "1", log)
        (unit,) = [each for each in told["units"] if each["unit"]["unit"] == row.unit]
        assert unit["score"]["tickets"] == row.tickets and unit["score"]["gain"] == row.gain
        gains = sorted(measured["gain"] for measured in unit["measured"].values())
        assert len(gains) == 4 and gains[1] == row.gain, "the lower median"
        leaf = decode_leaf(mill().entries[unit["revealed_entry"]].leaf)
        assert bytes.fromhex(unit["update"]) in encode(leaf)
        assert told["cycle"]["throws"][0]["total"] == scored(1).tickets_total


def test_people_read_where_each_number_stands(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = scored(1).rows[0]
    assert main(["audit", "explain", row.miner.hex(), "--cycle", "1", log]) == 0
    out = capsys.readouterr().out
    assert f"miner {row.miner.hex()} in cycle 1" in out
    assert out.count("measured:") == 4 and "counts as full in this cycle" in out
    assert "draw of rank 0: point" in out


def test_a_unit_that_was_not_revealed_scores_nothing(
    log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assigned = {unit["unit"]["miner"]: unit for unit in _units(log, capsys)}
    silent = [key for key, unit in assigned.items() if unit["revealed_entry"] is None]
    assert len(silent) == 1
    assert main(["audit", "explain", silent[0], "--cycle", "2", log]) == 0
    assert "not revealed: it scores nothing" in capsys.readouterr().out


def _units(log: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """All units of cycle 2."""
    found = []
    for miner in mill().miners:
        found += explained(capsys, miner.public_key.hex(), "--cycle", "2", log)["units"]
    return found


@pytest.mark.parametrize(("key", "cycle"), [("ff", "1"), ("0", "1"), ("02", "9")])
def test_an_unknown_miner_or_cycle_is_wrong_input(log: str, key: str, cycle: str) -> None:
    assert main(["audit", "explain", key, "--cycle", cycle, log]) == exits.CONFIG


def test_nothing_is_explained_from_a_log_that_does_not_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.grist"
    write(path, [*mill().entries[:3], *mill().entries[4:]])
    key = mill().miners[0].public_key.hex()
    status = main(["audit", "explain", key, "--cycle", "1", str(path)])
    assert status == exits.VERIFICATION_FAILED and capsys.readouterr().out == ""
