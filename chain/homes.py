"""Where a home is that nobody names: here, or where the system keeps a user's data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

FILES = {
    "replica": ("replica.yaml",),
    "miner": ("miner.yaml",),
    "node": ("node.yaml", "chain.sqlite"),
    "wallet": ("wallet.json",),
}
"""Kind of home -> files of which every such home has one."""


def default_home(kind: str) -> Path:
    """The directory in which the user is, if it is such a home; else one in XDG_DATA_HOME."""
    if any(Path(name).is_file() for name in FILES[kind]):
        return Path()
    return platformdirs.user_data_path("gristmill") / kind


def home_option(kind: str, text: str) -> Callable[[F], F]:
    """--home, for commands that work on one home of a kind."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=lambda: default_home(kind),
        show_default=f". if it is a {kind}'s, else gristmill/{kind} in $XDG_DATA_HOME",
        help=text,
    )
