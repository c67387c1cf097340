"""`gristmill job`: from a file to what a federation is founded on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bft.codec.canonical import decode
from bft.errors import ConfigError
from chain.params import Params
from chain.records.federation import Genesis
from chain.records.job import Job
from coordinator.ceremony import create_identity, free_ports
from coordinator.cli import federation
from miner.training import data
from miner.training.data import load
from miner.training.job_cli import job
from miner.training.jobdir import DATA, JOB, MODEL, PARAMS, open_job
from tests.miner.training.test_jobfile import WHOLE, changed


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(job, [*map(str, arguments), "--json"], catch_exceptions=False)
    told: dict[str, Any] = json.loads(result.stdout)["data"]
    return told


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    """A text and a job file about it."""
    (tmp_path / "plays.txt").write_bytes(bytes(range(32, 127)) * 4)
    (tmp_path / "plays.yaml").write_text(yaml.safe_dump(WHOLE))
    return tmp_path / "plays.yaml"


@pytest.fixture
def made(plays: Path, tmp_path: Path) -> Path:
    run("create", plays, "--out", tmp_path / "made", "--data", tmp_path / "plays.txt")
    return tmp_path / "made"


def test_a_created_job_is_whole_and_the_same_again(
    plays: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_job(made)
    monkeypatch.setenv(data.ENVIRONMENT, str(made / DATA))
    assert load(opened.job).records.shape == (24, 9)
    again = run("create", plays, "--out", tmp_path / "b", "--data", tmp_path / "plays.txt")
    assert run("validate", made)["job"] == run("show", made)["job"] == again["job"]
    for name in (JOB, PARAMS, MODEL):
        assert (tmp_path / "b" / name).read_bytes() == (made / name).read_bytes()


def test_validate_says_what_a_file_comes_to_without_its_data(plays: Path) -> None:
    told = run("validate", plays)
    assert told["chunks"] == 4
    assert told["predictions_per_unit"] == 3 * 2 * 8
    assert told["audited"] is True
    assert sum(told["segments"]) == told["parameters"]


def test_show_writes_a_job_as_people_write_it(made: Path) -> None:
    told = run("show", made)
    assert (told["mode"], told["sizes"]["heads"], told["family"]) == ("joint", 2, "gpt")


def test_export_has_what_founding_needs_and_a_federation_is_founded_on_it(
    made: Path, tmp_path: Path
) -> None:
    run("export", made, "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {JOB, PARAMS, MODEL}
    ports = free_ports(2)
    member = create_identity(
        tmp_path / "home", "one", f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
    )
    assert member.key
    arguments = ["found", "--name", "f", "--member", str(tmp_path / "home" / "member.bin")]
    arguments += ["--job", str(tmp_path / "out"), "--output", str(tmp_path / "founded")]
    result = CliRunner().invoke(federation, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    genesis = decode(Genesis, (tmp_path / "founded" / "genesis.bin").read_bytes())
    opened = open_job(tmp_path / "out")
    assert genesis.job == opened.job
    assert genesis.params == opened.params
    assert (tmp_path / "founded" / "model.bin").read_bytes() == opened.snapshot


@pytest.mark.parametrize("name", [JOB, PARAMS, MODEL])
def test_a_directory_with_a_missing_or_changed_file_is_refused(made: Path, name: str) -> None:
    whole = (made / name).read_bytes()
    (made / name).write_bytes(whole[:-1])
    with pytest.raises(ConfigError, match=name):
        open_job(made)
    (made / name).unlink()
    with pytest.raises(ConfigError, match="No such file"):
        open_job(made)


def test_a_model_that_the_job_does_not_begin_with_is_refused(made: Path) -> None:
    whole = (made / MODEL).read_bytes()
    (made / MODEL).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ConfigError, match="not the model that the job begins with"):
        open_job(made)


def test_nothing_is_written_over_and_an_unknown_name_is_told_the_known_ones(
    plays: Path, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        run("create", plays, "--out", made, "--data", tmp_path / "plays.txt")
    with pytest.raises(ConfigError, match="digits, fashion-cnn, fashion-mlp, text"):
        run("validate", "chess")


def test_constants_that_no_update_passes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(changed("params.changes", {"update_bytes_max": 99})))
    with pytest.raises(ConfigError, match="update_bytes_max is 99"):
        run("validate", path)


def test_records_are_what_the_files_hold(made: Path) -> None:
    opened = open_job(made)
    assert decode(Job, (made / JOB).read_bytes()) == opened.job
    assert decode(Params, (made / PARAMS).read_bytes()) == opened.params
