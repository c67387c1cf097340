"""Every shell command of a page, in the page's order, each with what the page shows under it.

Two kinds of fenced blocks hold commands.  ```console: a line that begins with `$ ` or `NAME$ ` is a
command, to be given on the host NAME; what follows is its output.  ```sh: every line is a command.
In both a backslash at the end goes on with the next line.  All other kinds hold none, and every
block says its kind: one that says nothing could hide a command.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (
    "README.md",
    "docs/OPERATING.md",
    "docs/CONFIGURATION.md",
    "docs/DEPLOYMENT.md",
    "docs/MINING.md",
    "docs/AUDITING.md",
    "docs/NODES.md",
    "docs/WALLET.md",
    "docs/JOBS.md",
    "docs/INTEROP.md",
    "examples/README.md",
)
"""Where people are told what to type."""

CONSOLE, SH = "console", "sh"
SILENT = frozenset({"text", "yaml", "json", "python", "ini", "js"})
"""Kinds of blocks without a command."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\S*)\s*$")
_PROMPT = re.compile(r"^(?:(?P<where>[a-z][a-z0-9-]*) ?)?\$ +(?P<text>.+)$")


class Block(NamedTuple):
    """One fenced block."""

    page: str
    line: int  # of its first line inside, from 1
    heading: str  # under which it stands
    kind: str
    lines: tuple[str, ...]


class Step(NamedTuple):
    """One command, as the page says it."""

    page: str
    line: int
    heading: str
    where: str  # the host before the prompt; "" if the page names none
    command: str  # continued lines are one, comments stay
    shown: str  # the output on the page, line by line; "" if it shows none

    @property
    def spot(self) -> str:
        """PAGE:LINE."""
        return f"{self.page}:{self.line}"


def blocks(page: str, text: str) -> Iterator[Block]:
    """Of a page's text.  Raises ValueError: a block does not end."""
    heading, begun, kind, indent = "", 0, "", 0
    inside: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is None:
            if fence:
                inside, begun, kind = [], number + 1, fence["kind"]
                indent = len(fence["indent"])
            elif line.startswith("#"):
                heading = line.lstrip("#").strip()
        elif fence and not fence["kind"]:
            yield Block(page, begun, heading, kind, tuple(inside))
            inside = None
        else:
            inside.append(line[indent:])
    if inside is not None:
        raise ValueError(f"{page}:{begun}: this block does not end")


def steps(page: str, text: str) -> Iterator[Step]:
    """The commands of a page's text.  Raises ValueError: output before any command."""
    for block in blocks(page, text):
        if block.kind == CONSOLE:
            yield from _console(block)
        elif block.kind == SH:
            yield from _script(block)


def steps_of(page: str) -> tuple[Step, ...]:
    """The commands of a page of this repository, by its path in it."""
    return tuple(steps(page, (ROOT / page).read_text(encoding="utf-8")))


def _console(block: Block) -> Iterator[Step]:
    made: Step | None = None
    for number, line in enumerate(block.lines, block.line):
        prompt = _PROMPT.match(line)
        if made is not None and made.shown == "" and made.command.endswith("\\"):
            made = made._replace(command=f"{made.command[:-1].rstrip()} {line.strip()}")
        elif prompt:
            if made is not None:
                yield made
            where = prompt["where"] or ""
            made = Step(block.page, number, block.heading, where, prompt["text"], "")
        elif made is None:
            raise ValueError(f"{block.page}:{number}: output before any command: {line!r}")
        else:
            made = made._replace(shown=f"{made.shown}{line}\n")
    if made is not None:
        yield made


def _script(block: Block) -> Iterator[Step]:
    text, begun = "", 0
    for number, line in enumerate(block.lines, block.line):
        begun = begun if text else number
        text = f"{text} {line.strip()}".strip()
        if text.endswith("\\"):
            text = text[:-1].rstrip()
        elif text and not text.startswith("#"):
            yield Step(block.page, begun, block.heading, "", text, "")
            text = ""
        else:
            text = ""
    if text:
        raise ValueError(f"{block.page}:{begun}: the last line ends with a backslash: {text!r}")
