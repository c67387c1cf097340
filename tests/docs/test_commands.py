"""Pages and --help: every `gristmill` line in them is a command that exists; every help reads well.

That the pages' commands also do what they say is shown by `python -m tests.docs`, which runs them.
"""

import inspect
import re
from collections.abc import Iterator

import click
import pytest

from gristmill.cli import gristmill
from tests.docs.extract import CONSOLE, PAGES, ROOT, SH, SILENT, blocks, steps_of
from tests.docs.parsing import commands_in, wrong_with

COLUMNS = 80
FENCED = re.MULTILINE | re.DOTALL
ALL_DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))


def tree(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below this one, and it."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            inner = click.Context(
                below,
                info_name=name,
                parent=context,
                terminal_width=COLUMNS - 2,
                max_content_width=COLUMNS - 2,
            )
            yield from tree(below, inner)


TREE = list(tree(gristmill, click.Context(gristmill, info_name="gristmill")))
NAMES = [context.command_path for _, context in TREE]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_says_its_kind(page: str) -> None:
    for block in blocks(page, (ROOT / page).read_text(encoding="utf-8")):
        assert block.kind in {CONSOLE, SH} | SILENT, f"{page}:{block.line}: kind {block.kind!r}"
        if block.kind in SILENT:
            hidden = [line for line in block.lines if re.match(r"\s*(\S+ ?)?\$ |gristmill ", line)]
            assert not hidden, f"{page}:{block.line}: a command that nobody would run: {hidden}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists_with_its_options(page: str) -> None:
    for step in steps_of(page):
        for words in commands_in(step.command):
            assert wrong_with(words) is None, f"{step.spot}: {step.command}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "examples/README.md", *ALL_DOCS])
def test_commands_within_sentences_exist_with_their_options(page: str) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(encoding="utf-8"), flags=FENCED)
    for span in re.findall(r"`(gristmill [^`]+)`", text):
        line = " ".join(span.replace("[", " ").replace("]", " ").split())
        for words in commands_in(line):
            wrong = wrong_with(words) or ""
            # A sentence may leave out what it is not about.
            assert wrong == "" or wrong.endswith(("is missing", "requires an argument.")), span


@pytest.mark.parametrize(("command", "context"), TREE, ids=NAMES)
def test_help_reads_well(command: click.Command, context: click.Context) -> None:
    """It says what the command does, what every option is for, and shows a line to type."""
    assert command.help, "it does not say what it does"
    shown = command.get_help(context)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts}: no help"
            assert parameter.help.rstrip().endswith((".", "]", ")")), (
                f"{parameter.opts}: no sentence"
            )
    assert "...\n" not in shown.partition("Commands:")[2], "first sentences too long for the list"
    wide = [line for line in shown.splitlines() if len(line) > COLUMNS]
    assert not wide, f"wider than {COLUMNS} columns: {wide}"
    said = f"{inspect.cleandoc(command.help)}\n{(command.epilog or '').removeprefix('Example: ')}"
    lines = said.replace("\\\n", " ").splitlines()
    examples = [line for line in lines if line.startswith("gristmill ")]
    assert examples or isinstance(command, click.Group), "no example"
    for line in examples:
        for words in commands_in(line):
            assert wrong_with(words) is None, line


WITHOUT_JSON = {
    "gristmill operator run": "runs until it is stopped; its log is for people",
    "gristmill node run": "runs until it is stopped; its log is for people",
    "gristmill audit policy": "prints a document of another's format",
    "gristmill config schema": "prints a document, which is JSON",
    "gristmill config example": "prints a document, which is YAML",
    "gristmill completion": "prints a document, which is a shell's",
    "gristmill model history": "prints a document in the --format that is asked for",
}


def test_every_command_with_a_result_has_it_as_json() -> None:
    """ADR 16: {"ok", "data"} or {"ok", "error"}; the rest is here, with the reason."""
    leaves = {
        context.command_path: command
        for command, context in TREE
        if not isinstance(command, click.Group)
    }
    silent = {
        path
        for path, command in leaves.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert silent == WITHOUT_JSON.keys()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("operator init --home x", "--name is missing"),
        ("operator status --hmoe x", "--hmoe"),
        ("operator stats", "no command 'stats'"),
        ("federation found --name x --output y --params big", "'big' is not one of"),
        ("audit --form URL", "--form"),
        ("operator accept one two", "unexpected extra argument"),
    ],
)
def test_what_does_not_exist_is_found(words: str, told: str) -> None:
    assert told in (wrong_with(words.split()) or "")


def test_all_commands_of_a_line_are_found() -> None:
    line = "A=1 gristmill one --x 'a b' | grep x && until gristmill two >/dev/null; do a; done # c"
    assert list(commands_in(line)) == [["one", "--x", "a b"], ["two"]]
