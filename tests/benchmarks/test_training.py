"""The comparison of training schemes: equal samples, real update files, DiLoCo first."""

import pytest
from msgspec.structs import replace

from benchmarks.training import ALONE, DILOCO, SCHEMES, compare, digits
from benchmarks.training_schemes import Task, job_of
from chain.records.job import make_sizes
from chain.rules.jobs import check_job

FEW = [
    ALONE,
    DILOCO,
    *(one for one in SCHEMES if one.name in ("data-parallel int8", "local heads top 128, 2 bits")),
]


def small() -> Task:
    whole = digits()
    sizes = make_sizes(inputs=64, width=16, depth=2, classes=10)
    job = replace(whole.job, sizes=sizes, heldout_records=40)
    return Task(name="small", job=job, data=whole.data, miners=2, steps=2, rounds=2)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_every_scheme_of_the_product_is_a_job_that_the_rules_take(scheme: object) -> None:
    if not scheme.exact and not scheme.alone:  # type: ignore[attr-defined]
        check_job(job_of(digits(), scheme))  # type: ignore[arg-type]


def test_bytes_are_those_of_the_update_files(capsys: pytest.CaptureFixture[str]) -> None:
    task = small()
    rows = {row["scheme"]: row for row in compare(task, FEW, 1)}
    assert [row["sent_mb"] for row in rows.values()] == sorted(
        (row["sent_mb"] for row in rows.values()), key=lambda sent: (sent != 0, -sent)
    )
    assert rows[DILOCO.name]["to_best_diloco"] == 0
    assert rows[DILOCO.name]["smaller"] == 1
    assert 2 < rows["data-parallel int8"]["smaller"] < 4
    assert "2 rounds of 2 steps of 16, 128 samples" in capsys.readouterr().err
