"""Whether a resource report can be true: what no machine could have done is flagged.

A report is the claim of a miner's own kernel.  It serves statistics of energy and the planning of
capacity; nothing here changes a score, so a flag costs nobody a ticket and a lie earns none.
Pure.
"""

from chain.records.contribution import Profile, ResourceReport

CORES_MAX = 1_024  # of one machine: CPU time is at most so many times wall time
POWER_MILLIWATTS_MAX = 20_000_000  # of one machine with its accelerators
CAPACITY_SLACK = 8  # a machine may turn out so many times as fast as its benchmark
CLOCK_SLACK_MS = 5_000  # agreed times are a primary's clock, rounded to batches
TICK_MS = 20  # what a kernel's accounting of CPU time may leave out
WEIGHT_BYTES = 4  # a trainer holds at least the weights of its unit

NO_CPU = "no-cpu-time"
TOO_MANY_CORES = "more-cores-than-a-machine-has"
LONGER_THAN_THE_CYCLE = "longer-than-the-cycle-ran"
FASTER_THAN_ITS_BENCHMARK = "faster-than-its-own-benchmark"
MORE_MEMORY = "more-memory-than-it-registered"
LESS_MEMORY = "less-memory-than-the-weights"
NO_ENERGY = "no-energy"
TOO_MUCH_POWER = "more-power-than-a-machine-draws"


def implausible(
    report: ResourceReport, profile: Profile | None, parameters: int, samples: int, ran_ms: int
) -> tuple[str, ...]:
    """Why the report cannot be true; empty when it can.

    Args:
        profile: of the miner's registration, if it is known.
        parameters, samples: of the unit: what was to be trained, and on how many records.
        ran_ms: from the assignment to the reveal, by the federation's time.
    """
    cpu_ms = report.cpu_user_ms + report.cpu_system_ms
    checks = [
        (NO_CPU, cpu_ms == 0),
        (TOO_MANY_CORES, cpu_ms > CORES_MAX * (report.wall_ms + TICK_MS)),
        (LONGER_THAN_THE_CYCLE, report.wall_ms > ran_ms + CLOCK_SLACK_MS),
        (LESS_MEMORY, report.memory_peak_bytes < WEIGHT_BYTES * parameters),
        (NO_ENERGY, report.energy_mj == 0 and cpu_ms > TICK_MS),
        (
            TOO_MUCH_POWER,
            1_000 * report.energy_mj > POWER_MILLIWATTS_MAX * (report.wall_ms + TICK_MS),
        ),
    ]
    if profile is not None:
        able = CAPACITY_SLACK * profile.capacity * (report.wall_ms + TICK_MS)
        checks += [
            (FASTER_THAN_ITS_BENCHMARK, 1_000 * parameters * samples > able),
            (MORE_MEMORY, report.memory_peak_bytes > profile.memory_bytes),
        ]
    return tuple(word for word, holds in checks if holds)
