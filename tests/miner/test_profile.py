"""Accounting: counters that wrap, counters that are not there, and whose energy it was."""

import resource
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.records.contribution import Profile
from miner.profile import (
    Meter,
    attribute_energy,
    load_profile,
    memory_bytes,
    read_busy_ms,
    read_packages,
    save_profile,
    used_millijoules,
)
from tests.chain.federation_fixture import JOB


def package(root: Path, name: str, microjoules: int, wraps_at: int = 1_000_000) -> None:
    domain = root / name
    domain.mkdir(exist_ok=True)
    (domain / "energy_uj").write_text(f"{microjoules}\n")
    (domain / "max_energy_range_uj").write_text(f"{wraps_at}\n")


def test_packages_are_summed_and_their_parts_are_not_counted_again(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        package(tmp_path, name, 0)
    before = read_packages(tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        package(tmp_path, name, 5_000)
    assert used_millijoules(before, read_packages(tmp_path)) == 10


def test_a_counter_that_wrapped_is_understood(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 999_000)
    before = read_packages(tmp_path)
    package(tmp_path, "intel-rapl:0", 1_000)
    assert used_millijoules(before, read_packages(tmp_path)) == 2


@pytest.mark.parametrize("content", ["", "many", None])
def test_a_counter_that_cannot_be_read_is_no_counter(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    if content is not None:
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content)
    assert read_packages(tmp_path).counters == {}
    assert used_millijoules(read_packages(tmp_path), read_packages(tmp_path)) is None


def test_a_package_that_vanished_makes_the_measurement_void(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 0)
    assert used_millijoules(read_packages(tmp_path), read_packages(tmp_path / "none")) is None


def test_measured_energy_is_shared_by_cpu_time() -> None:
    assert attribute_energy(9_000, 3_000, 1_000, 15) == (3_000, False)


@pytest.mark.parametrize(("packages", "busy"), [(None, 3_000), (9_000, None), (9_000, 0), (9, 10)])
def test_without_a_measurement_energy_is_cpu_time_times_an_assumed_power(
    packages: int | None, busy: int | None
) -> None:
    """1 W for 1 ms is 1 mJ; the report says that it is an estimate."""
    assert attribute_energy(packages, busy, 1_000, 15) == (15_000, True)


def test_busy_time_is_read_from_the_kernel(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 100 100 9999 9999 100 100 100 7 7\ncpu0 1 2 3\n")
    assert read_busy_ms(stat) == 600 * 10
    stat.write_text("")
    assert read_busy_ms(stat) is None
    assert read_busy_ms(tmp_path / "none") is None


def test_a_report_speaks_of_the_child_and_not_of_this_process() -> None:
    usage = resource.struct_rusage([1.5, 0.25, 2_048] + [0] * 13)
    report = Meter(watts_per_core=10).report(usage, wall_ms=2_000)
    assert (report.cpu_user_ms, report.cpu_system_ms, report.wall_ms) == (1_500, 250, 2_000)
    assert report.memory_peak_bytes in (2_048, 2_048 * 1024)
    assert report.energy_mj > 0 or not report.estimated


def test_a_profile_holds_for_its_job_and_device(tmp_path: Path) -> None:
    profile = Profile(device=b"cpu", capacity=123, memory_bytes=memory_bytes())
    assert load_profile(tmp_path, JOB, "cpu") is None
    save_profile(tmp_path, JOB, profile)
    assert load_profile(tmp_path, JOB, "cpu") == profile
    assert load_profile(tmp_path, replace(JOB, steps=JOB.steps + 1), "cpu") is None
    assert load_profile(tmp_path, JOB, "cuda:0") is None
    (tmp_path / "profile.json").write_bytes(b"[1]")
    assert load_profile(tmp_path, JOB, "cpu") is None
