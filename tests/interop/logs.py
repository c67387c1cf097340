"""`python -m tests.interop.logs --seed N --budget SECONDS`: simulated logs, audited in JavaScript.

The seeds are those of `tests.oracle`: bad days, and changes of members. Their logs are audited by
examples/audit-log, which knows docs/PROTOCOL.md and docs/RECORDS.md only, in Node.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bft.codec.canonical import encode
from chain.audit.archive import MAGIC
from chain.records.score_log import LogEntry
from tests.interop.tools import HERE, MODULES, NODE, ROOT
from tests.search import Search, arguments
from tests.search import command as search
from tests.sim.moving import Moving
from tests.sim.search import Day
from tests.sim.world import World
from tests.vectors.generate import PATH as VECTORS


def archive(path: Path, genesis: bytes, entries: Sequence[LogEntry]) -> Path:
    """Written there, as `gristmill audit --save` does."""
    frames = [genesis, *map(encode, entries)]
    path.write_bytes(MAGIC + b"".join(len(each).to_bytes(4, "big") + each for each in frames))
    return path


def command(home: Path, *logs: Path) -> tuple[Path, ...]:
    """The script and its arguments; a copy of the example lies in `home` as in the repository."""
    example = home / "repository/examples/audit-log"
    shutil.copytree(ROOT / "examples/audit-log", example)
    (home / "repository/docs").mkdir()
    shutil.copy(ROOT / "docs/RECORDS.md", home / "repository/docs")
    (home / "repository/node_modules").symlink_to(MODULES)
    return (HERE / "audit_log.mjs", example, VECTORS, *logs)


def check(world: World) -> None:
    """The longest log of a correct replica passes.  Raises AssertionError."""
    assert NODE is not None, "Node is not installed"
    logs = [host.disk.log() for host in world.hosts if host.correct]
    with tempfile.TemporaryDirectory() as home:
        log = archive(Path(home, "log.grist"), encode(world.genesis), max(logs, key=len))
        said = subprocess.run(
            [NODE, *command(Path(home), log)], capture_output=True, check=True, text=True
        )
    (found,) = json.loads(said.stdout)["logs"]
    assert found["ok"], found


class AuditedDay(Day):
    """A bad day, and what JavaScript says of it."""

    def run(self) -> None:
        super().run()
        check(self._world)


class AuditedMove(Moving):
    """Members that change, and what JavaScript says of it."""

    def run(self) -> None:
        super().run()
        check(self.world)


def watched(seed: int, without: frozenset[str]) -> AuditedDay | AuditedMove:
    """Of this seed."""
    kind = AuditedMove if seed % 3 == 2 else AuditedDay
    return kind(seed, without)


SEARCH = Search("interop", watched)

if __name__ == "__main__":
    sys.exit(search(SEARCH, arguments("tests.interop.logs", __doc__).parse_args()))
