"""The example does what it says, and a dozen lines with py_ecc agree with it on every vector."""

import json
import os
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests/vectors/gristmill/protocol.json"
CERTIFICATES: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))["certificates"]
KEY, CHAIN = CERTIFICATES["federation_key"], CERTIFICATES["chain_id"]
LAYOUT = "<B32sIQIB32sII32s33sQqQQ32s32sQ32s32s48s"
CASES = [
    *[pytest.param(case, True, id=f"good {n}") for n, case in enumerate(CERTIFICATES["accepted"])],
    *[pytest.param(case, False, id=case["why"]) for case in CERTIFICATES["refused"]],
]


def py_ecc_accepts(data: bytes, key: bytes, chain_id: bytes) -> bool:
    """docs/PROTOCOL.md, section 13, with the standard library and py_ecc."""
    if len(data) != struct.calcsize(LAYOUT):
        return False
    version, chain, *fields, signature = struct.unpack(LAYOUT, data)
    not_before, not_after = fields[5:7]
    tag = sha256(b"gristmill/certificate/v1").digest()
    message = sha256(tag + tag + data[:-48]).digest()
    if version != 1 or chain != chain_id or not_before > not_after:
        return False
    return py_ecc_verifies(key, signature, message)


@pytest.mark.parametrize(("case", "good"), CASES)
def test_py_ecc_alone_accepts_and_refuses_the_same(case: Any, good: bool) -> None:
    data = bytes.fromhex(case["certificate"])
    assert py_ecc_accepts(data, bytes.fromhex(KEY), bytes.fromhex(CHAIN)) == good


def example(path: Path, key: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples/verify_certificate.py", path, key, CHAIN]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )


def test_the_example_says_what_was_certified(tmp_path: Path) -> None:
    case = CERTIFICATES["accepted"][0]
    path = tmp_path / "certificate"
    path.write_bytes(bytes.fromhex(case["certificate"]))
    answer = example(path, KEY)
    fields = case["fields"]
    told = f"cycle {fields['cycle']}: {fields['winner']} may make block {fields['height']}\n"
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, told, "")


def test_the_example_says_why_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "certificate"
    path.write_bytes(bytes.fromhex(CERTIFICATES["refused"][0]["certificate"]))
    answer = example(path, KEY)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "refused: a certificate has 371 bytes; 370 came\n"


def test_the_example_refuses_another_federations_certificate(tmp_path: Path) -> None:
    path = tmp_path / "certificate"
    path.write_bytes(bytes.fromhex(CERTIFICATES["accepted"][0]["certificate"]))
    answer = example(path, "00" * 96)
    assert answer.returncode == 1 and answer.stderr.startswith("refused: not a public key")
