"""Each flag at its bound and one past it; an honest report has none."""

import pytest
from msgspec.structs import replace

from chain.records.contribution import Profile, ResourceReport
from chain.rules import plausibility
from chain.rules.plausibility import (
    CAPACITY_SLACK,
    CLOCK_SLACK_MS,
    CORES_MAX,
    POWER_MILLIWATTS_MAX,
    TICK_MS,
    WEIGHT_BYTES,
    implausible,
)

PARAMETERS, SAMPLES, RAN_MS = 10_000, 4_000, 60_000
HONEST = ResourceReport(
    cpu_user_ms=900,
    cpu_system_ms=100,
    wall_ms=1_000,
    memory_peak_bytes=200_000_000,
    energy_mj=15_000,
    estimated=1,
)
PROFILE = Profile(device=b"cpu", capacity=40_000_000, memory_bytes=10**9)
WALL = HONEST.wall_ms + TICK_MS


def flags(report: ResourceReport, profile: Profile | None = PROFILE) -> tuple[str, ...]:
    return implausible(report, profile, PARAMETERS, SAMPLES, RAN_MS)


def test_an_honest_report_is_plausible_with_and_without_its_profile() -> None:
    assert flags(HONEST) == flags(HONEST, None) == ()


BOUNDS: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    plausibility.NO_CPU: (
        {"cpu_user_ms": 1, "cpu_system_ms": 0},
        {"cpu_user_ms": 0, "cpu_system_ms": 0},
    ),
    plausibility.TOO_MANY_CORES: (
        {"cpu_user_ms": CORES_MAX * WALL - 100},
        {"cpu_user_ms": CORES_MAX * WALL - 99},
    ),
    plausibility.LONGER_THAN_THE_CYCLE: (
        {"wall_ms": RAN_MS + CLOCK_SLACK_MS},
        {"wall_ms": RAN_MS + CLOCK_SLACK_MS + 1},
    ),
    plausibility.MORE_MEMORY: (
        {"memory_peak_bytes": PROFILE.memory_bytes},
        {"memory_peak_bytes": PROFILE.memory_bytes + 1},
    ),
    plausibility.LESS_MEMORY: (
        {"memory_peak_bytes": WEIGHT_BYTES * PARAMETERS},
        {"memory_peak_bytes": WEIGHT_BYTES * PARAMETERS - 1},
    ),
    plausibility.NO_ENERGY: ({"energy_mj": 1}, {"energy_mj": 0}),
    plausibility.TOO_MUCH_POWER: (
        {"energy_mj": POWER_MILLIWATTS_MAX * WALL // 1_000},
        {"energy_mj": POWER_MILLIWATTS_MAX * WALL // 1_000 + 1},
    ),
}


@pytest.mark.parametrize("flag", BOUNDS)
def test_a_claim_at_the_bound_passes_and_one_past_it_is_flagged(flag: str) -> None:
    within, beyond = BOUNDS[flag]
    assert flags(replace(HONEST, **within)) == ()
    assert flags(replace(HONEST, **beyond)) == (flag,)


def test_work_that_its_own_benchmark_could_not_do_is_flagged() -> None:
    able = -(-1_000 * PARAMETERS * SAMPLES // (CAPACITY_SLACK * WALL))
    assert flags(HONEST, replace(PROFILE, capacity=able)) == ()
    slow = replace(PROFILE, capacity=able - 1)
    assert flags(HONEST, slow) == (plausibility.FASTER_THAN_ITS_BENCHMARK,)
