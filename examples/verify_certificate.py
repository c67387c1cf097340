"""Did this federation certify that, for this chain?  Needs the package and nothing else.

    python examples/verify_certificate.py CERTIFICATE_FILE KEY_HEX CHAIN_ID_HEX

The file is what a replica serves at /v1/cycles/{cycle}/certificate.
"""

import sys
from pathlib import Path

from bft.errors import FederationError
from chain.validation import verify_certificate


def main(path: str, key: str, chain_id: str) -> int:
    data = Path(path).read_bytes()
    try:
        found = verify_certificate(data, bytes.fromhex(key), bytes.fromhex(chain_id))
    except FederationError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"cycle {found.cycle}: {found.winner.hex()} may make block {found.height}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
