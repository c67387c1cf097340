"""Two test processes are never given the same port."""

import subprocess
import sys

from tests.ports import claim_ports

CLAIM_THERE = """
import sys
from tests.ports import claim_ports
print(*claim_ports(8, int(sys.argv[1])))
"""


def test_no_port_is_given_twice_in_a_process() -> None:
    first = claim_ports(8)
    assert not set(first) & set(claim_ports(8, first[0]))


def test_another_process_gets_others() -> None:
    ours = claim_ports(8)
    command = [sys.executable, "-c", CLAIM_THERE, str(ours[0])]
    there = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    theirs = [int(port) for port in there.stdout.split()]
    assert len(theirs) == 8
    assert not set(ours) & set(theirs)
