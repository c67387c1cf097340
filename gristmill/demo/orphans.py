"""What killed processes leave behind, kept in the family until it is gone.

A process of the demonstration that is killed leaves its own children: a miner its workshop, a
replica its evaluation workers.  They notice and end a moment later, each as an orphan of which
this process would know nothing.  As a child subreaper it becomes the parent of all such orphans
and can wait for them.

Source: prctl(2), PR_SET_CHILD_SUBREAPER (Linux 3.4).  Other systems have no such thing; there
orphans end by themselves a moment after the demonstration.
"""

import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on orphans among this process's descendants become its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_all() -> None:
    """Wait until this process has no children.  Nobody else in it may wait for any."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return
