"""Exported models compute the same without Gristmill."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from chain.audit.archive import frame, start_archive
from chain.records.job import Mode, make_sizes
from chain.records.score_log import Aggregated, CycleClosed, LogEntry, encode_leaf
from miner.training.export import CODE, CONFIG, MODEL, export_model
from miner.training.history import as_csv, as_json, as_svg, read_history
from miner.training.jobs import genesis_snapshot
from miner.training.model import model_logits
from miner.training.plain import load
from tests.chain.rules.families.test_cut import cut_job
from tests.miner.training.test_families import made

STRANGER = """
from model import load
model = load(".")
import json, sys, torch
inputs = torch.tensor(json.load(open("inputs.json")))
print(json.dumps(model(inputs).tolist()))
assert not {"bft", "chain", "miner", "coordinator", "gristmill"} & set(sys.modules)
"""


@pytest.mark.parametrize("family", [b"mlp", b"cnn", b"gpt"])
def test_three_lines_of_plain_pytorch_give_the_same_answer(family: bytes, tmp_path: Path) -> None:
    job, model, inputs, _ = made(family, Mode.LOCAL_HEADS, 3)
    out = tmp_path / "out"
    config = export_model(job, genesis_snapshot(job), out, {"cycle": 3}, 4)
    assert config["cycle"] == 3
    assert config["input_scale"] == 1 / 16
    assert {path.name for path in out.iterdir()} == {MODEL, CONFIG, CODE}
    given = inputs if family == b"gpt" else inputs.float()
    (out / "inputs.json").write_text(json.dumps(given.tolist()))
    done = subprocess.run(
        [sys.executable, "-c", STRANGER], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = torch.tensor(json.loads(done.stdout), dtype=torch.float64)
    torch.testing.assert_close(answer, model_logits(model, inputs), rtol=1e-4, atol=1e-5)


def test_a_tied_head_is_exported_once_and_loaded_twice(tmp_path: Path) -> None:

    sizes = make_sizes(context=8, width=8, depth=2, heads=2, tied=1)
    job = replace(cut_job(b"gpt", Mode.DATA_PARALLEL, 1), sizes=sizes)
    export_model(job, genesis_snapshot(job), tmp_path / "out", {}, None)
    model = load(tmp_path / "out")
    tokens = torch.from_numpy(np.arange(8).reshape(1, 8))
    assert model(tokens).shape == (1, 8, 256)
    assert model.get_parameter("head.weight") is model.get_parameter("embedding.tokens")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    job, *_ = made(b"mlp", Mode.JOINT, 4)
    with pytest.raises(ConfigError, match="is not empty"):
        export_model(job, b"", tmp_path, {}, None)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A log with two cycles' models among other entries."""
    path = tmp_path / "log.grist"
    records = [
        Aggregated(
            cycle=1, digest=sha256(b"1"), halvings=0, loss=1_500_000, correct=30, records=100
        ),
        CycleClosed(cycle=1, reason=0),
        Aggregated(cycle=2, digest=sha256(b"2"), halvings=0, loss=750_000, correct=60, records=100),
    ]
    with path.open("wb") as file:
        start_archive(file, b"genesis")
        for index, record in enumerate(records):
            file.write(frame(encode(LogEntry(index=index, leaf=encode_leaf(record), proof=b""))))
    return path


def test_the_history_of_a_log_is_its_agreed_measurements(archive: Path) -> None:
    points = read_history(archive)
    assert [(point.cycle, point.loss, point.accuracy) for point in points] == [
        (1, 1.5, 0.3),
        (2, 0.75, 0.6),
    ]
    lines = as_csv(points).splitlines()
    assert lines[0] == "cycle,loss,accuracy,predictions,model"
    assert lines[2] == f"2,0.75,0.6,100,{sha256(b'2').hex()}"
    assert json.loads(as_json(points))[0]["model"] == sha256(b"1").hex()


def test_the_plot_is_xml_with_a_dot_for_each_number(archive: Path) -> None:
    from xml.etree import ElementTree

    points = read_history(archive)
    root = ElementTree.fromstring(as_svg(points))
    assert len(root.findall("{*}circle")) == 2 * len(points)
    ElementTree.fromstring(as_svg([]))
    ElementTree.fromstring(as_svg(points[:1]))


def test_what_is_no_archive_has_no_history(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not an archive"):
        read_history(tmp_path / "other")
