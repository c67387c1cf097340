"""What a demonstration refuses before it starts anything."""

from pathlib import Path
from typing import Any

import pytest

from bft.errors import ConfigError
from gristmill.cli import main
from gristmill.demo.plan import CYCLES_MAX, MINERS_MAX, NODES_MAX, REPLICAS_MAX, Fault, Plan


def plan(**changes: Any) -> Plan:
    """The default plan, changed."""
    values = {"replicas": 4, "miners": 6, "nodes": 2, "cycles": 3, "fault": Fault.NONE}
    return Plan(**{**values, "home": Path("h"), **changes})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("replicas", 1, REPLICAS_MAX),
        ("miners", 1, MINERS_MAX),
        ("nodes", 0, NODES_MAX),
        ("cycles", 1, CYCLES_MAX),
    ],
)
def test_each_number_has_bounds(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(plan(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=rf"--{name} is {value}; {low} to {high} expected"):
            plan(**{name: value})


@pytest.mark.parametrize("fault", [Fault.PRIMARY_CRASH, Fault.LYING_SCORER])
def test_a_faulty_replica_needs_a_federation_that_tolerates_one(fault: Fault) -> None:
    with pytest.raises(ConfigError, match="needs --replicas 4 or more"):
        plan(fault=fault, replicas=3)


def test_a_dead_miner_needs_one_that_lives() -> None:
    with pytest.raises(ConfigError, match="needs --miners 2 or more"):
        plan(fault=Fault.DEAD_MINER, miners=1)


def test_what_is_refused_leaves_no_directory_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["demo", "--replicas", "0"]) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("mine")
    assert main(["demo", "--home", str(tmp_path)]) == 3
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
