"""Whether a line that begins with `gristmill` is a command that exists, with options that exist.

Nothing is run: click's own tree is walked and click's own parser reads the words.
"""

import re
import shlex
from collections.abc import Iterator

import click

from gristmill.cli import gristmill

_COMMAND = re.compile(
    r"(?:^|[;&|(`]|\bdo|\buntil|\bif|\bthen|\bwhile|\$\()\s*gristmill\s+(?P<rest>.*)"
)
_ENVIRONMENT = re.compile(r"^(?:[A-Z_]+=(?:'[^']*'|\"[^\"]*\"|\S*)\s+)+")


def commands_in(line: str) -> Iterator[list[str]]:
    """The words after each `gristmill` of a shell line, up to what ends the command."""
    rest: str | None = _ENVIRONMENT.sub("", line)
    while rest:
        found = _COMMAND.search(rest)
        if found is None:
            return
        rest = re.sub(r"\b[12]>", ">", found["rest"])
        lexer = shlex.shlex(rest, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;()<>"):
                break
            words.append(word.strip("`"))
        yield words


def wrong_with(words: list[str]) -> str | None:
    """What click would say against the words; None: nothing.

    Values are looked at only where a command lists what it takes: files need not be there.
    """
    command: click.Command = gristmill
    context = click.Context(gristmill, info_name="gristmill")
    try:
        while isinstance(command, click.Group):
            if not words or words[0].startswith("-"):
                words = words or ["--help"]
                if type(command).__name__ != "DefaultGroup" or words == ["--help"]:
                    return _options(command, context, words)
            found = command.get_command(context, words[0]) if words else None
            if found is None and type(command).__name__ == "DefaultGroup":
                found, words = command.get_command(context, "replay"), ["replay", *words]
            if found is None:
                return f"{context.command_path} has no command {words[0]!r}"
            context = click.Context(found, info_name=words[0], parent=context)
            command, words = found, words[1:]
        return _options(command, context, words)
    except click.UsageError as error:
        return error.format_message()


def _options(command: click.Command, context: click.Context, words: list[str]) -> str | None:
    given, extra, _ = command.make_parser(context).parse_args(list(words))
    if "--help" in words or "-h" in words or isinstance(command, click.Group):
        return None
    if extra:
        return f"{context.command_path}: unexpected extra argument {extra[0]!r}"
    for parameter in command.get_params(context):
        name = parameter.name or ""
        value = given.get(name)
        if parameter.required and (value is None or value == ()):
            return f"{context.command_path}: {max(parameter.opts, key=len)} is missing"
        chosen = [value] if isinstance(value, str) else []
        if isinstance(parameter.type, click.Choice):
            for one in chosen:
                parameter.type.convert(one, parameter, context)
    return None
