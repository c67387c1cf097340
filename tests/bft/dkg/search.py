"""Sessions of key generation and resharing, one after another.

`python -m tests.bft.dkg.search --seed N --count C --budget SECONDS --jobs J`
"""

import sys

from tests.bft.dkg.chaos import Chaos
from tests.search import Search, arguments, command

SEARCH = Search("dkg", Chaos)

if __name__ == "__main__":
    sys.exit(command(SEARCH, arguments("tests.bft.dkg.search", __doc__).parse_args()))
