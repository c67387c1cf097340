"""`python -m tests.reproducible [--cycles 20]`: the audit makes a whole run's models once more,
on processors without vector units, without AVX-512, and with 1 and 7 threads.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chain.audit.modelled import modelled
from tests.chain.audit.test_models import write
from tests.reproducible.test_steps import ROOT, optional_features

KINDS: dict[str, dict[str, object]] = {
    "dense": {"outer_momentum": 58_982, "backtracking": 2, "outer_rate_denominator": 2},
    "sparse": {"compression": b"topk", "keep": 128, "value_bits": 2, "agreement": 66_000},
    "robust": {"aggregation": b"trimmed-mean", "trim": 1},
}
MACHINES: dict[str, dict[str, str]] = {
    "as it is": {},
    "no vector units": {"NPY_DISABLE_CPU_FEATURES": " ".join(optional_features())},
    "no AVX-512, 7 threads": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name for name in optional_features() if name.startswith(("AVX512", "X86_V4"))
        ),
        "OMP_NUM_THREADS": "7",
        "OPENBLAS_NUM_THREADS": "7",
    },
    "1 thread, old BLAS": {"OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott"},
}


def main() -> int:
    """0 when every machine makes every model as agreed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    cycles = parser.parse_args().cycles
    failed = 0
    for kind, changes in KINDS.items():
        mill = modelled(**changes)
        for _ in range(cycles):
            mill.cycle()
        with tempfile.TemporaryDirectory() as home:
            log, blobs = write(mill, Path(home))
            for machine, environment in MACHINES.items():
                command = ["audit", "models", str(log), "--artifacts", str(blobs)]
                done = subprocess.run(
                    [sys.executable, "-m", "gristmill", *command],
                    cwd=ROOT,
                    env=os.environ | environment,
                    capture_output=True,
                    text=True,
                )
                told = next((x for x in done.stdout.splitlines() if x.startswith("models:")), "")
                good = not done.returncode and f"models: {cycles} made" in told
                failed += not good
                print(f"{kind:8}{machine:24}{'' if good else 'FAILED: '}{told or done.stderr}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
