"""A search of the engine, compiled: `python -m tests.compiled tests.bft.pbft.chaos --count 2000`.

Copies the tree, translates the engine's modules to C with mypyc, and runs the search in the copy.
Modules that define records stay Python, because their metaclass is not ours.  Traces were
the same as the interpreter's wherever both ran.  `--keep DIR` keeps the copy for
further searches; a copy that is there already is used as it is.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.__main__ import copy_tree

INTERPRETED = ("Record", "Struct")
"""Base classes that mypyc cannot compile."""
USAGE = 2


def compilable(root: Path) -> list[str]:
    """The engine's modules without records, as paths below `root`."""
    engine = sorted((root / "bft" / "pbft").glob("*.py"))
    return [
        str(path.relative_to(root))
        for path in (root / "bft" / "crypto" / "hashing.py", *engine)
        if path.stat().st_size and not _defines_record(path.read_text())
    ]


def _defines_record(text: str) -> bool:
    classes = [line for line in text.splitlines() if line.startswith("class ")]
    return any(f"({base}" in line for line in classes for base in INTERPRETED)


def build(root: Path) -> None:
    """Compile in place.  Raises CalledProcessError with mypyc's words on its output."""
    compiler = Path(sys.executable).with_name("mypyc")
    subprocess.run(
        [str(compiler), *compilable(root)],
        cwd=root,
        env={**os.environ, "MYPYC_OPT_LEVEL": "2"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )


def search(root: Path, module: str, arguments: list[str]) -> int:
    """The search's exit status."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=root, env=environment).returncode


def main(argv: list[str]) -> int:
    keep = None
    if argv[:1] == ["--keep"] and len(argv) > 1:
        keep, argv = Path(argv[1]).resolve(), argv[2:]
    if not argv or argv[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return USAGE
    with tempfile.TemporaryDirectory(prefix="gristmill-compiled-") as made:
        root = keep or Path(made)
        if not (root / "build").exists():
            root.mkdir(parents=True, exist_ok=True)
            copy_tree(root)
            print("compiling the engine, about a minute", file=sys.stderr, flush=True)
            build(root)
        return search(root, argv[0], argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
