"""The same models on every processor and with any number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CYCLES = 2
EXPECTED = """\
mean 44da2e679199f345ae416c0c46e21e23c47fda6af9de792101f127df3ae5057e
momentum 799a2790088705a5ef6698272cf2d97c80b1eb9dab505457e324be35d87f55df
median 6490078f22b8ebd2ebee2b946bc1c5d716b6fb37e627c46aea73f51eab2b5b01
trimmed-mean 3062c64ad5739d909abc81e2b23410e5b632cd5eebf8b37561168b0d5917e98b
multi-krum dac0774cf1792b1b3524778e2f80447474e51ea05dfbc491e561b55e0fe23484
agreement 447afd60d95fc6a15a1cfcf763544ead44b328d50279d1e12a2272af36de42f1
sparse 1c1aadf7a3c9beda5b1d76ffcb2370cbf7bdab2dd7a7c34f26e2dcc695580728
sparse-krum ffc597caf143b865a451facbac7fb44e507bfd5d84058ad5f260985506584a9f
"""


def optional_features() -> list[str]:
    """What numpy uses here beyond what it was built to need."""
    umath = np._core._multiarray_umath  # type: ignore[attr-defined]
    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]


def steps(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.reproducible.steps", str(CYCLES)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"NPY_DISABLE_CPU_FEATURES": " ".join(optional_features())},
        {
            "NPY_DISABLE_CPU_FEATURES": " ".join(
                name for name in optional_features() if name.startswith(("AVX512", "X86_V4"))
            ),
            "OMP_NUM_THREADS": "7",
            "OPENBLAS_NUM_THREADS": "7",
        },
        {"OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott", "PYTHONHASHSEED": "1"},
    ],
    ids=["no vector units", "no AVX-512, 7 threads", "1 thread, old BLAS"],
)
def test_the_models_do_not_depend_on_the_machine(environment: dict[str, str]) -> None:
    """Against digests that were computed on another day."""
    assert steps(**environment) == EXPECTED
