"""How commands show a result: for people, or as one JSON object."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click

from chain.federation.bounded import plain

LINE_CHARS_MAX = 4096  # a server may have written what is shown
DATE = "%Y-%m-%d %H:%M:%S UTC"

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def show(data: dict[str, Any], as_json: bool) -> None:
    """A result: as one object, or for people, with what is in it indented below its name."""
    show_text(data, as_json, "\n".join(_lines(data, "")))


def show_text(data: dict[str, Any], as_json: bool, text: str) -> None:
    """A result: as one object, or what `text` says of it."""
    click.echo(json.dumps({"ok": True, "data": data}) if as_json else text)


def show_pairs(data: dict[str, Any], as_json: bool) -> None:
    """A result: as one object, or a line `name: value` for each."""
    show_text(data, as_json, "\n".join(f"{name}: {value}" for name, value in data.items()))


def dated(data: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """For people: the times of these names, at any depth, with their date beside them."""
    told = {}
    for name, value in data.items():
        told[name] = dated(value, names) if isinstance(value, dict) else value
        if name in names and type(value) is int:
            with suppress(ValueError, OverflowError, OSError):  # no calendar has what a server said
                told[name] = f"{value} ({datetime.fromtimestamp(value, UTC):{DATE}})"
    return told


def _lines(data: dict[str, Any], indent: str) -> list[str]:
    width = max((len(name) for name in data), default=0)
    lines = []
    for name, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        else:
            told = ", ".join(map(str, value)) if isinstance(value, list) else value
            shown = "-" if told is None else plain(str(told), LINE_CHARS_MAX)
            lines.append(f"{indent}{name.replace('_', ' '):<{width}}  {shown}")
    return lines
