"""A machine of its own, for one person: network, files and processes that nobody else sees.

The shell is the first process of a process namespace; with it ends whatever it started.  Below
`root` it sees its own directory and no other.  Needs root, and util-linux' nsenter and unshare.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.netns.network import ROOT

MARK = "\x1e"
"""Before and after the number of a command that has ended: the record separator."""
OUTPUT_BYTES_MAX = 1 << 20

_ALONE = """
mount --bind "$ROOT/$WHO" /mnt && mount -t tmpfs none "$ROOT" &&
mkdir "$ROOT/$WHO" && mount --bind /mnt "$ROOT/$WHO" && umount /mnt &&
cd "$ROOT/$WHO" && exec bash --noprofile --norc
"""


class Result(NamedTuple):
    """What a command came to."""

    status: int
    output: str  # stdout and stderr together


class Host:
    """`run` a command, then the next; `close` ends all that runs here."""

    def __init__(self, root: Path, who: str, network: str) -> None:
        """Args:
        root: holds a directory for everybody.
        network: path of the network namespace.
        """
        self.who, self.files = who, root / who
        self.files.mkdir()
        self._count = 0
        known = {name: text for name, text in os.environ.items() if "GRISTMILL" not in name}
        self._shell = subprocess.Popen(
            [
                *("nsenter", f"--net={network}"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("bash", "-c", _ALONE),
            ],
            env={
                **known,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "NO_COLOR": "1",
                "ROOT": str(root),
                "WHO": who,
                "HOME": str(self.files),
                "XDG_DATA_HOME": str(self.files / "data"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def run(self, command: str, deadline: float) -> Result:
        """Its status and output; what it left in the background goes on.

        Raises:
            TimeoutError: it has not ended by `deadline` (time.monotonic's).
            RuntimeError: the host is gone.
        """
        assert self._shell.stdin is not None
        self._count += 1
        mark = f"{MARK}{self._count} "
        self._shell.stdin.write(
            f"{{ {command}\n}} </dev/null; printf '\\036%s %s\\n' {self._count} $?\n"
        )
        self._shell.stdin.flush()
        told = ""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{self.who}: no end of: {command}\n{told}") from None
            if line is None:
                raise RuntimeError(f"{self.who}'s host is gone, after: {command}\n{told}")
            before, found, status = line.partition(mark)
            told = (told + before)[-OUTPUT_BYTES_MAX:]
            if found:
                return Result(int(status), told)

    def close(self) -> None:
        """Nothing of it runs afterwards."""
        self._shell.kill()
        self._shell.wait()
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.close()
