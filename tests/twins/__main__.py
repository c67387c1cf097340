"""Worlds of twins, one after another: `python -m tests.twins --count 1000000 --jobs 2`.

Numbers from --seed on; the mirrored half is passed over.  The numbers begin again after the last.
"""

import sys

from tests import keyed_signatures
from tests.search import Search, arguments, command
from tests.twins.scenario import Scenario, Twins

SEARCH = Search(
    "twins", Twins, keyed_signatures.install, skip=lambda number: Scenario(number).mirrored()
)

if __name__ == "__main__":
    sys.exit(command(SEARCH, arguments("tests.twins", __doc__).parse_args()))
