"""Job files: every key is typed, every number exact, and what is wrong is named."""

from pathlib import Path

import msgspec
import pytest
import yaml

from bft.errors import ConfigError
from chain.params import MAIN, MINIMAL
from chain.records.job import Mode, sizes_of
from chain.rules.jobs import check_job
from miner.training.jobdir import TEMPLATES, check_fit
from miner.training.jobfile import job_of, params_of, read_job_file
from miner.training.jobs import digits_job

WHOLE = {
    "name": "plays",
    "model": {
        "family": "gpt",
        "sizes": {"context": 8, "width": 8, "depth": 2, "heads": 2, "tied": 0},
        "mode": "joint",
        "segments": 2,
    },
    "data": {"name": "text", "train": 20, "heldout": 4, "chunk": 5},
    "work": {"steps": 3, "batch": 2, "learning_rate": 0.0003, "optimizer": "sgd"},
    "outer": {"rate": "3/8"},
    "params": {"preset": "minimal", "changes": {"own_records": 5}},
}


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(keys: str, value: object) -> dict[str, object]:
    """WHOLE with one key, `a.b.c`, set."""
    content: dict[str, object] = msgspec.json.decode(msgspec.json.encode(WHOLE))
    place, names = content, keys.split(".")
    for name in names[:-1]:
        place = place.setdefault(name, {})  # type: ignore[assignment]
    place[names[-1]] = value
    return content


def test_every_key_becomes_its_field(tmp_path: Path) -> None:
    file = read_job_file(write(tmp_path / "job.yaml", WHOLE))
    job, params = job_of(file), params_of(file)
    check_job(job)
    check_fit(job, params)
    assert (job.name, job.family, Mode(job.mode), job.segments) == (b"plays", b"gpt", Mode.JOINT, 2)
    assert sizes_of(job) == WHOLE["model"]["sizes"]  # type: ignore[index]
    assert (job.train_records, job.heldout_records, job.chunk_records) == (20, 4, 5)
    assert (job.optimizer, job.steps, job.batch_records) == (b"sgd", 3, 2)
    assert job.learning_rate_ppm == 300
    assert (job.outer_rate_numerator, job.outer_rate_denominator) == (3, 8)
    assert params.own_records == 5
    assert params.subsidy == MINIMAL.subsidy


def test_what_is_left_out_is_the_plain_choice(tmp_path: Path) -> None:
    content = changed("params", {})
    del content["outer"]
    file = read_job_file(write(tmp_path / "job.yaml", content))
    job = job_of(file)
    assert params_of(file) == MAIN
    assert (job.outer_rate_numerator, job.outer_rate_denominator) == (1, 2)
    assert (job.aggregation, job.compression, job.privacy) == (b"mean", b"int8", b"none")


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ("name", 5, r"\$.name: Expected `str`, got `int`"),
        ("model.famly", "mlp", r"\$.model: .* unknown field `famly`"),
        ("model.sizes.width", "wide", r"\$.model.sizes\[...\]: Expected `int`, got `str`"),
        ("model.sizes.width", 1 << 32, "sizes"),
        ("model.mode", "whole", r"\$.model.mode: Invalid enum value 'whole'"),
        ("model.segments", 1 << 16, "segments"),
        ("model.segments", -1, "segments"),
        ("data.train", 1.5, r"\$.data.train: Expected `int`, got `float`"),
        ("work.learning_rate", 1e-7, "learning_rate is 1E-7; whole parts per million"),
        ("work.learning_rate", float("nan"), "learning_rate is NaN"),
        ("work.learning_rate", -1, "learning_rate_ppm"),
        ("outer.rate", "half", "outer.rate is 'half'"),
        ("outer.rate", "1/0", "outer.rate is '1/0'"),
        ("outer.trim", 256, "trim"),
        ("params.preset", "huge", "preset is 'huge'; main, minimal, signet are known"),
        ("params.changes", {"speed": 1}, "no constant 'speed'"),
        ("params.changes", {"own_records": -1}, "own_records"),
        ("params.changes", {"name": 1}, "no constant 'name'"),
        ("name", "x" * 65, "name"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_key(
    tmp_path: Path, keys: str, value: object, said: str
) -> None:
    path = write(tmp_path / "job.yaml", changed(keys, value))

    def read() -> None:
        file = read_job_file(path)
        job_of(file)
        params_of(file)

    with pytest.raises(ConfigError, match=said):
        read()


def test_no_file_and_no_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_job_file(tmp_path / "none")
    (tmp_path / "job.yaml").write_bytes(b"name: [")
    with pytest.raises(ConfigError, match=r"job\.yaml"):
        read_job_file(tmp_path / "job.yaml")


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_file_that_comes_with_gristmill_is_a_job(path: Path) -> None:
    file = read_job_file(path)
    job = job_of(file)
    check_job(job)
    check_fit(job, params_of(file))
    assert job.train_records // job.chunk_records >= 6


def test_the_demonstrations_job_is_the_file_digits() -> None:
    job, _ = digits_job()
    told = job_of(read_job_file(TEMPLATES / "digits.yaml"))
    assert (
        msgspec.structs.replace(
            told, dataset_digest=job.dataset_digest, genesis_model=job.genesis_model
        )
        == job
    )
