"""`operator log export`: the published log as a directory for any web server."""

import json
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from gristmill import exits
from gristmill.cli import main
from tests.chain.tlog.publishing import mill, publish, sealed_keys, write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A replica's home with a published log."""
    made, tlog = mill(), tmp_path / "replica" / "tlog"
    write(tlog, [("genesis", encode(made.genesis))])
    for index in range(4):
        key = made.replicas[index].public_key.hex()
        write(tlog, [(f"keys/{key}", sealed_keys(made, index))])
    publish(tlog, made, range(4), certified=False)
    write(tlog, [("tile/0/000.new", b"half"), ("../journal.db", b"secret")])
    return tlog.parent


def test_what_is_exported_is_audited(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mirror"
    assert main(["operator", "log", "export", str(target), "--home", str(home)]) == 0
    assert f"the log's first {len(mill().entries)} entries" in capsys.readouterr().out
    assert main(["audit", str(target), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["data"]
    assert report["checkpoints"][0]["cosigners"] == [0, 1, 2, 3]
    names = {path.name for path in target.rglob("*")}
    assert "journal.db" not in names and "000.new" not in names


def test_an_export_is_brought_up_to_date(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "mirror"
    assert main(["operator", "log", "export", str(target), "--home", str(home)]) == 0
    first = (target / "checkpoint").read_bytes()
    publish(home / "tlog", mill(), range(4))
    assert main(["operator", "log", "export", str(target), "--home", str(home)]) == 0
    assert (target / "checkpoint").read_bytes() != first
    assert main(["audit", str(target)]) == 0


def test_without_a_checkpoint_there_is_nothing_to_export(tmp_path: Path) -> None:
    arguments = ["operator", "log", "export", str(tmp_path / "mirror"), "--home", str(tmp_path)]
    assert main(arguments) == exits.CONFIG
    assert not (tmp_path / "mirror").exists()
