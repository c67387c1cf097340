"""The tables of docs/CONFIGURATION.md: `python -m tests.gristmill.config_page` writes them."""

import sys
from pathlib import Path

from chain.settings_text import table
from gristmill.config import KINDS, structure

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "CONFIGURATION.md"
NAMES = {
    "replica": "A replica: replica.yaml",
    "miner": "A miner: miner.yaml",
    "node": "A node: node.yaml",
    "job": "A job",
}

MARK = "<!-- What follows is made by python -m tests.gristmill.config_page; a test compares. -->"


def page() -> str:
    """The whole page: what a person wrote above MARK, then the tables."""
    written, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{PAGE.name} has lost its mark"
    parts = [written + MARK]
    for kind, named in KINDS.items():
        parts += ["", f"## {NAMES[kind]}", ""]
        if named.environment:
            parts += [f"Variables: `GRISTMILL_{kind.upper()}__*`.", ""]
        parts += table(structure(kind))
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write it."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(page().splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
