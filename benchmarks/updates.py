"""How small updates are, and how fast one core writes and reads them: JSON on stdout.

    python -m benchmarks.updates [--elements N]

Beside it what one pass over the same numbers costs on this core, now.
"""

import argparse
import json
from collections.abc import Callable
from time import process_time

import numpy as np

from chain.rules.sparse import SparseFormat, decode_sparse
from miner.training.sparsify import encode_topk

FORMATS = ((64, 2), (128, 2), (64, 4), (256, 8))
TRIES = 5
GIGA = 1e9


def best_s(work: Callable[[], object]) -> float:
    """CPU seconds of the quickest try."""
    tried = []
    for _ in range(TRIES):
        started = process_time()
        work()
        tried.append(process_time() - started)
    return max(min(tried), 1e-9)


def main() -> None:
    """One row for each format."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--elements", type=int, default=3_100_000)
    elements = parser.parse_args().elements
    change = (np.random.default_rng(0).standard_normal(elements) * 1e3).astype(np.float32)
    size = change.nbytes
    rows: list[dict[str, float]] = []
    for keep, bits in FORMATS:
        form = SparseFormat(elements=elements, keep=keep, value_bits=bits)
        data = encode_topk(form, change)
        rows.append(
            {
                "keep_of_4096": keep,
                "value_bits": bits,
                "smaller_than_fp32": round(size / len(data), 1),
                "encode_gb_s": round(
                    size / best_s(lambda form=form: encode_topk(form, change)) / GIGA, 2
                ),
                "decode_gb_s": round(
                    size / best_s(lambda form=form, data=data: decode_sparse(form, data)) / GIGA, 2
                ),
            }
        )
    passed = size / best_s(lambda: np.abs(change)) / GIGA
    print(
        json.dumps(
            {"elements": elements, "formats": rows, "one_pass_gb_s": round(passed, 2)}, indent=1
        )
    )


if __name__ == "__main__":
    main()
