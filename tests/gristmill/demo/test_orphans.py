"""Who is orphaned is waited for."""

import os
import subprocess
import sys

import pytest

ORPHANED = """
import os, subprocess, sys
from gristmill.demo.orphans import adopt_orphans, wait_for_all

adopt_orphans()
shared, held = os.pipe()
child = os.fork()
if child == 0:
    # The child dies at once; the grandchild goes on until its standard input ends.
    os.close(held)
    grandchild = subprocess.Popen([sys.executable, "-c", "input()"], stdin=shared)
    print(grandchild.pid, flush=True)
    os._exit(0)
os.waitpid(child, 0)
os.close(shared)
os.write(held, b"go on\\n")
wait_for_all()
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_an_orphan_is_gone_when_its_adopter_has_waited() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANED], stdout=subprocess.PIPE, text=True, check=True
    )
    orphan, told = done.stdout.splitlines()
    assert told == "no child is left"
    with pytest.raises(ProcessLookupError):
        os.kill(int(orphan), 0)
