"""An audit with the artifacts makes every agreed model once more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import Unavailable
from chain.audit.archive import frame, start_archive
from chain.audit.cli import FAILED, PASSED
from chain.audit.findings import AuditReport
from chain.audit.models import ModelCheck
from chain.audit.replay import Auditor
from gristmill.cli import main
from tests.chain.audit.modelled import ModelledMill, modelled


@pytest.fixture(scope="module")
def mill() -> ModelledMill:
    made = modelled(outer_momentum=58_982, backtracking=2, outer_rate_denominator=2)
    made.cycle().cycle()
    return made


def audited(
    mill: ModelledMill, read: Callable[[bytes], bytes] | None = None
) -> tuple[AuditReport, ModelCheck]:
    check = ModelCheck(read or mill.artifacts.__getitem__)
    auditor = Auditor(encode(mill.genesis), check_models=check)
    for entry in mill.entries:
        auditor.take(entry)
    return auditor.report(), check


def test_models_follow_from_updates_of_every_kind(mill: ModelledMill) -> None:
    sparse = modelled(compression=b"topk", keep=64, value_bits=2, agreement=66_000)
    for made in (mill, sparse.cycle()):
        report, check = audited(made)
        assert report.passed and not report.findings
        assert check.checked == [cycle.cycle for cycle in report.cycles if cycle.closed]
        assert not check.missing


def test_a_model_that_the_updates_do_not_make_breaks_the_audit() -> None:
    """A strong quorum that lies is beyond what the protocol withstands; the artifacts show it."""
    liars = modelled(outer_rate_denominator=7)
    honest = liars.made

    liars.made = lambda state: (honest(state)[0][:-1] + b"\x01",)  # type: ignore[method-assign]
    liars.cycle()
    report, check = audited(liars)
    assert not report.passed
    assert "a strong quorum agreed on" in report.broken[0].text
    assert not check.checked
    believing = Auditor(encode(liars.genesis))
    for entry in liars.entries:
        believing.take(entry)
    assert believing.report().passed


def test_artifacts_that_nobody_has_or_that_are_others_are_told_and_break_nothing(
    mill: ModelledMill,
) -> None:
    first = next(iter(mill.artifacts))  # the first model

    def without(digest: bytes) -> bytes:
        if digest == first:
            raise Unavailable("gone")
        return mill.artifacts[digest]

    report, check = audited(mill, without)
    assert report.passed
    assert (check.checked, check.missing) == ([2], [1])
    report, check = audited(mill, lambda digest: b"other bytes")
    assert report.passed
    assert (check.checked, check.missing) == ([], [1, 2])
    assert "of 2 cycles the artifacts are not to be had" in check.line()


def test_the_command_reads_a_log_and_a_replicas_blobs(
    mill: ModelledMill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, blobs = write(mill, tmp_path)
    assert main(["audit", "models", str(log), "--artifacts", str(blobs)]) == PASSED
    told = capsys.readouterr().out
    assert "models: 2 made once more from their updates, all as agreed\n" in told
    last = mill.artifacts[mill.state.model]
    (blobs / sha256(last).hex()[:2] / sha256(last).hex()).unlink()
    assert main(["audit", "models", str(log), "--artifacts", str(blobs)]) == PASSED
    damaged = tmp_path / "damaged"
    data = bytearray(log.read_bytes())
    data[-200] ^= 1
    damaged.write_bytes(bytes(data))
    assert main(["audit", "models", str(damaged), "--artifacts", str(blobs)]) == FAILED


def write(mill: ModelledMill, directory: Path) -> tuple[Path, Path]:
    """The log as an archive, and the artifacts as a replica keeps them."""
    log, blobs = directory / "log.grist", directory / "blobs"
    with log.open("wb") as file:
        start_archive(file, encode(mill.genesis))
        for entry in mill.entries:
            file.write(frame(encode(entry)))
    for digest, data in mill.artifacts.items():
        name = digest.hex()
        (blobs / name[:2]).mkdir(parents=True, exist_ok=True)
        (blobs / name[:2] / name).write_bytes(data)
    return log, blobs
