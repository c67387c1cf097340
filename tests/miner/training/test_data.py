"""Data sets: the same records everywhere, or none."""

import gzip
import importlib.util
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from bft.errors import ConfigError
from miner.training.data import digits, load
from miner.training.jobs import digits_job

JOB, _ = digits_job()


def test_digits_are_the_records_that_the_job_names() -> None:
    dataset = load(JOB)
    assert dataset.digest == JOB.dataset_digest
    assert dataset.records.shape == (1797, 64)
    assert dataset.records.dtype == np.uint8
    assert dataset.records.max() == 1 << dataset.scale_shift


def test_digits_agree_with_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    rows = np.column_stack([theirs.data, theirs.target]).astype(np.uint8)
    ours = np.column_stack([digits().records, digits().labels])
    assert Counter(map(bytes, rows)) == Counter(map(bytes, ours))


def test_held_out_records_are_of_all_classes() -> None:
    labels = load(JOB).labels[JOB.train_records :]
    assert min(Counter(labels.tolist()).values()) >= 20


def test_other_records_than_the_job_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="the job names 0000"):
        load(replace(JOB, dataset_digest=bytes(32)))


def test_an_unknown_data_set_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="known: digits"):
        load(replace(JOB, dataset=b"iris"))


def test_a_job_that_wants_more_records_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="only 1797 records"):
        load(replace(JOB, heldout_records=358))


def test_a_machine_without_scikit_learn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed"):
        digits.__wrapped__()


def test_a_changed_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "datasets" / "data"
    place.mkdir(parents=True)
    with gzip.open(place / "digits.csv.gz", "wt") as file:
        file.write("0," * 64 + "1\n")
    spec = ModuleSpec("sklearn", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    assert digits.__wrapped__().digest != JOB.dataset_digest
    (place / "digits.csv.gz").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        digits.__wrapped__()
