"""Data sets: the same records everywhere, or none."""

import gzip
import importlib.util
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from msgspec.structs import replace

from bft.errors import ConfigError
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.registry import record_layout
from miner.training import data, dataset, sources
from miner.training.data import load, prepare
from miner.training.dataset import INDEX, Dataset, read_dataset, write_dataset
from miner.training.jobs import digits_job

JOB, _ = digits_job()
LAYOUT = record_layout(JOB)
TEXT = replace(
    JOB,
    family=b"gpt",
    sizes=make_sizes(context=7, width=4, depth=1, heads=1, tied=0),
    mode=Mode.DATA_PARALLEL,
    segments=1,
    dataset=b"text",
    train_records=4,
    heldout_records=2,
)
PIXELS = replace(
    JOB,
    sizes=make_sizes(inputs=784, width=4, depth=1, classes=10),
    dataset=b"fashion-mnist",
    train_records=3,
    heldout_records=2,
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Only what a test puts there."""
    monkeypatch.setenv(data.ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(data.platformdirs, "user_data_path", lambda _: tmp_path / "user")
    load.cache_clear()
    yield
    load.cache_clear()


def test_digits_are_the_records_that_the_job_names() -> None:
    found = load(JOB)
    assert found.digest == JOB.dataset_digest
    assert found.records.shape == (1797, 64)
    assert found.records.dtype == np.uint8
    assert found.records.max() == 1 << found.scale_shift


def test_digits_agree_with_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), load(JOB)
    rows = np.column_stack([theirs.data, theirs.target]).astype(np.uint8)
    mine = np.column_stack([ours.records, ours.labels])
    assert Counter(map(bytes, rows)) == Counter(map(bytes, mine))


def test_held_out_records_are_of_all_classes() -> None:
    labels = load(JOB).labels[JOB.train_records :]
    assert min(Counter(labels.tolist()).values()) >= 20


def test_other_records_than_the_job_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="the job names 0000"):
        load(replace(JOB, dataset_digest=bytes(32)))


def test_an_unknown_data_set_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="known: arrays, digits, fashion-mnist, text"):
        load(replace(JOB, dataset=b"iris"))


def test_a_job_that_wants_more_records_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="only 1797"):
        load(replace(JOB, heldout_records=358))


def test_a_machine_without_scikit_learn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed"):
        sources.digits(None, 1, 1, LAYOUT)


def test_a_changed_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "datasets" / "data"
    place.mkdir(parents=True)
    with gzip.open(place / "digits.csv.gz", "wt") as file:
        file.write("0," * 64 + "1\n")
    spec = ModuleSpec("sklearn", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(ConfigError, match="there are only 1"):
        sources.digits(None, 1, 1, LAYOUT)
    (place / "digits.csv.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(ConfigError, match="cannot be read"):
        sources.digits(None, 1, 1, LAYOUT)


def several_shards(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(dataset, "SHARD_BYTES", 65 * 700)
    return prepare(JOB, None)


def test_prepared_shards_give_the_same_records_and_need_no_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = several_shards(monkeypatch)
    root = write_dataset(tmp_path, made)
    assert root == made.digest
    assert len(list((tmp_path / root.hex()).glob("*.shard"))) == 3
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = load(replace(JOB, dataset_digest=root))
    assert (found.records == made.records).all()
    assert (found.labels == made.labels).all()
    assert found.scale_shift == made.scale_shift


def test_a_changed_cut_or_missing_shard_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = write_dataset(tmp_path, several_shards(monkeypatch))
    home = tmp_path / root.hex()
    shard = sorted(home.glob("*.shard"))[1]
    whole = shard.read_bytes()
    for wrong in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole + b"\0"):
        shard.write_bytes(wrong)
        with pytest.raises(ConfigError, match=f"{shard.name} was changed"):
            read_dataset(home, root)
    shard.unlink()
    with pytest.raises(ConfigError, match=shard.name):
        read_dataset(home, root)


def test_an_index_of_other_shards_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, prepare(JOB, None))
    home = tmp_path / root.hex()
    with pytest.raises(ConfigError, match="is expected"):
        read_dataset(home, bytes(32))
    (home / INDEX).write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match=INDEX):
        read_dataset(home, root)


def test_scale_and_labels_are_under_the_root() -> None:
    made = prepare(JOB, None)
    other = Dataset(records=made.records, labels=made.labels, scale_shift=5)
    bare = Dataset(records=made.records, labels=np.empty(0, np.uint8), scale_shift=4)
    assert len({made.digest, other.digest, bare.digest}) == 3


def idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wb") as file:
        file.write(head + array.tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """Files of Fashion-MNIST's form: 5 records to train on, 4 to test with."""
    home = tmp_path / "fashion-mnist"
    for kind, count in (("train", 5), ("t10k", 4)):
        pixels = np.arange(count * 784, dtype=np.uint16).reshape(count, 28, 28).astype(np.uint8)
        idx(home / f"{kind}-images-idx3-ubyte.gz", pixels)
        idx(home / f"{kind}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) + 5)
    return home


def test_fashion_mnist_trains_on_its_training_records_and_holds_out_those_for_tests(
    fashion: Path,
) -> None:
    made = prepare(PIXELS, fashion)
    assert made.labels.tolist() == [5, 6, 7, 5, 6]
    assert made.records.shape == (5, 784)
    found = load(replace(PIXELS, dataset_digest=made.digest))
    assert (found.records == made.records).all(), "found by its name in GRISTMILL_DATA"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\x08\x03" + bytes(12) + b"x", "its header says 0"),
        (b"\0\0\x0d\x03" + bytes(12), "no idx file"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "its header says"),
        (b"", "no idx file"),
    ],
)
def test_an_idx_file_that_lies_is_refused(fashion: Path, content: bytes, said: str) -> None:
    with gzip.open(fashion / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(content)
    with pytest.raises(ConfigError, match=said):
        prepare(PIXELS, fashion)


def test_more_records_than_fashion_mnist_has_are_refused(fashion: Path) -> None:
    with pytest.raises(ConfigError, match="only 4 records in t10k"):
        prepare(replace(PIXELS, heldout_records=5), fashion)


def test_text_is_cut_into_windows_in_the_order_of_its_files(tmp_path: Path) -> None:
    home = tmp_path / "plays"
    (home / "b").mkdir(parents=True)
    (home / "b" / "two").write_bytes(bytes(range(30, 60)))
    (home / "a").write_bytes(bytes(range(30)))
    (home / "binary").write_bytes(b"\xa7\r" + bytes(30))
    made = prepare(TEXT, home)
    assert made.records.ravel().tolist() == list(range(48))
    assert made.records.shape == (6, 8)
    root = write_dataset(tmp_path, made)
    assert (load(replace(TEXT, dataset_digest=root)).records == made.records).all()


def test_a_text_that_is_too_short_or_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(47))
    with pytest.raises(ConfigError, match="has 47 bytes; 4 \\+ 2 records of 8 need 48"):
        prepare(TEXT, tmp_path / "short")
    with pytest.raises(ConfigError, match="--data PATH"):
        prepare(TEXT, None)
    with pytest.raises(ConfigError, match="does not exist"):
        prepare(TEXT, tmp_path / "none")


def array_job(train: int = 6) -> Job:
    return replace(
        JOB,
        sizes=make_sizes(inputs=6, width=4, depth=1, classes=3),
        dataset=b"arrays",
        train_records=train,
        heldout_records=2,
    )


def test_arrays_of_safetensors_and_of_numpy_are_one_data_set(tmp_path: Path) -> None:
    records = np.arange(60, dtype=np.int16).reshape(10, 2, 3) - 30
    labels = (np.arange(10) % 3).astype(np.uint8)
    safetensors.numpy.save_file({"records": records, "labels": labels}, tmp_path / "a.safetensors")
    np.save(tmp_path / "records.npy", records)
    np.save(tmp_path / "labels.npy", labels)
    made = prepare(array_job(), tmp_path / "a.safetensors")
    assert made.digest == prepare(array_job(), tmp_path).digest
    assert made.records.dtype == np.int16
    rows = {tuple(row): label for row, label in zip(records.reshape(10, 6), labels, strict=True)}
    assert all(
        rows[tuple(row)] == label for row, label in zip(made.records, made.labels, strict=True)
    )
    root = write_dataset(tmp_path, made)
    assert (read_dataset(tmp_path / root.hex(), root).records == made.records).all()


@pytest.mark.parametrize(
    ("records", "labels", "said"),
    [
        (np.zeros((8, 6), np.float32), np.zeros(8, np.uint8), "records are float32"),
        (np.zeros((8, 6), np.uint8), np.zeros(8, np.int64), "labels int64"),
        (np.zeros((8, 6), np.uint8), np.zeros(7, np.uint8), r"labels have shape \(7,\)"),
        (np.zeros((8, 5), np.uint8), np.zeros(8, np.uint8), "width 5; the model reads 6"),
        (np.zeros((8, 6), np.uint8), np.full(8, 3, np.uint8), "label 3; the model has 3"),
        (np.zeros((7, 6), np.uint8), np.zeros(7, np.uint8), "there are only 7"),
        (None, np.zeros(8, np.uint8), "records.npy"),
        (np.array([{}]), np.zeros(1, np.uint8), "allow_pickle"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, records: object, labels: object, said: str
) -> None:
    for name, array in (("records", records), ("labels", labels)):
        if array is not None:
            np.save(tmp_path / f"{name}.npy", np.asarray(array))
    with pytest.raises(ConfigError, match=said):
        prepare(array_job(), tmp_path)
