"""How fast we sign, verify and combine, beside pyblst and py_ecc in the same run.

Prints one JSON object: CPU microseconds (best of several runs) and, for what the others can do
too, how many times our time theirs is (above 1: we are faster).

    python benchmarks/bls.py
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyblst
from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.optimized_bls12_381.optimized_curve import G2, multiply
from py_ecc.optimized_bls12_381.optimized_pairing import pairing

from bft.crypto import bls, shamir, threshold
from bft.crypto.threshold import KeyShare, PublicPolynomial

HASH: Any = sha256  # py_ecc asks for a type that hashlib's functions do not declare
MESSAGE = b"a certificate"
SECRET = int.from_bytes(sha256(b"secret").digest(), "big") % bls.ORDER
GENERATOR = pyblst.BlstP2Element.uncompress(bls.public_key(1))
KEY, SIGNATURE = bls.public_key(SECRET), bls.sign(SECRET, MESSAGE)


def best_us(act: Callable[[], Any], runs: int) -> int:
    """CPU microseconds of the fastest of `runs` calls, after one to warm caches."""
    act()
    times = []
    for _ in range(runs):
        start = time.process_time_ns()
        act()
        times.append(time.process_time_ns() - start)
    return min(times) // 1000


def pyblst_verify() -> bool:
    """Key and signature from bytes; ours keeps the decompressed key."""
    hashed = pyblst.BlstP1Element.hash_to_group(MESSAGE, bls.DST)
    left = pyblst.miller_loop(pyblst.BlstP1Element.uncompress(SIGNATURE), GENERATOR)
    right = pyblst.miller_loop(hashed, pyblst.BlstP2Element.uncompress(KEY))
    return bool(pyblst.final_verify(left, right))


def pyblst_sign() -> bytes:
    hashed = pyblst.BlstP1Element.hash_to_group(MESSAGE, bls.DST)
    return bytes(hashed.scalar_mul(SECRET).compress())


def py_ecc_verify() -> bool:
    right = pairing(signature_to_G2(BLSSignature(KEY)), hash_to_G1(MESSAGE, bls.DST, HASH))
    return bool(pairing(G2, pubkey_to_G1(BLSPubkey(SIGNATURE))) == right)


def py_ecc_sign() -> Any:
    return multiply(hash_to_G1(MESSAGE, bls.DST, HASH), SECRET)


def signatures() -> dict[str, Any]:
    ours = {
        "sign": best_us(lambda: bls.sign(SECRET, MESSAGE), 20),
        "verify": best_us(lambda: bls.verify(KEY, SIGNATURE, MESSAGE), 20),
    }
    theirs = {
        "sign": {"pyblst": best_us(pyblst_sign, 20), "py_ecc": best_us(py_ecc_sign, 2)},
        "verify": {"pyblst": best_us(pyblst_verify, 20), "py_ecc": best_us(py_ecc_verify, 1)},
    }
    ratios = {
        operation: {name: round(us / ours[operation], 2) for name, us in others.items()}
        for operation, others in theirs.items()
    }
    return {"us": ours, "others_us": theirs, "ratio_to_ours": ratios}


def thresholds(n: int) -> dict[str, int]:
    """Combining t of n, in the good case, with a bad share, and checking shares one by one."""
    t = 2 * ((n - 1) // 3) + 1
    polynomial = tuple(pow(7, k + 2, bls.ORDER) for k in range(t))
    public = PublicPolynomial(commitments=shamir.commit(polynomial))
    signed = {
        index: threshold.sign_share(
            KeyShare(index=index, secret=shamir.evaluate(polynomial, index + 1)), MESSAGE
        )
        for index in range(n)
    }
    spoiled = {**signed, 0: SIGNATURE}
    items = [(public.share_key(index), signed[index], MESSAGE) for index in range(t)]

    def one_by_one() -> None:
        for key, signature, message in items:
            bls.verify(key, signature, message)

    return {
        "t": t,
        "combine_us": best_us(lambda: threshold.combine(public, MESSAGE, signed), 5),
        "combine_one_bad_us": best_us(lambda: threshold.combine(public, MESSAGE, spoiled), 3),
        "verify_t_shares_as_a_batch_us": best_us(lambda: bls.verify_batch(items), 5),
        "verify_t_shares_one_by_one_us": best_us(one_by_one, 3),
    }


def main() -> int:
    report = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "signatures": signatures(),
        "threshold": {str(n): thresholds(n) for n in (4, 7, 100)},
    }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
