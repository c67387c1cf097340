"""The short form of benchmarks/audit.py; the long one is run by hand."""

import json
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


def test_every_signature_that_an_audit_checks_is_in_its_floor() -> None:
    command = [sys.executable, "-m", "benchmarks.audit", "--cycles", "2", "--miners", "3"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    told = json.loads(done.stdout)
    assert (told["cycles"], told["units_per_cycle"]) == (2, 3)
    assert told["ecdsa"] > 2 * 3 * 3 and told["bls"] >= 2 * 4 and told["ratio"] > 0
    assert told["resumed"]["cycles"] == 1 and told["resumed"]["bookmark_bytes"] > 1_000
