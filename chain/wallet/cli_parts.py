"""What the wallet's commands share: options, passphrases, and how results are shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bft.errors import ConfigError
from chain.bitcoin.text import parse_amount
from chain.homes import home_option
from chain.output import show_text
from chain.wallet.commands import Wallet
from chain.wallet.home import alone, load_settings

PASSPHRASE_BYTES_MAX = 4096
TEXT_BYTES_MAX = 8 * 1024 * 1024

HOME = home_option("wallet", "The wallet's directory.")
NODE = click.option(
    "--node",
    default="http://127.0.0.1:7501",
    show_default=True,
    metavar="URL",
    help="Your own node; for looking, a replica will do.",
)
COOKIE = click.option(
    "--cookie",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The node's .cookie file, in its home: sending asks for it.",
)
PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of typing the wallet's passphrase.",
)
RATE = click.option(
    "--fee-rate",
    type=int,
    default=2,
    show_default=True,
    help="Smallest units per virtual byte; nodes take 1 and more.",
)


FEE_MAX = click.option(
    "--fee-max",
    "highest",
    metavar="AMOUNT",
    help="The highest fee that is meant, such as 0.5.  Left out: 0.1, and 0.1 for each 1000 "
    "virtual bytes.",
)


def units_of(highest: str | None) -> int | None:
    """Of --fee-max, in smallest units.  Raises ConfigError: no amount."""
    if highest is None:
        return None
    units = parse_amount(highest)
    if units is None:
        raise ConfigError("--fee-max: 'all' came; an amount such as 0.5 is expected")
    return units


def opened(home: Path) -> Wallet:
    """The wallet, for this command alone until it ends."""
    load_settings(home)  # says so if there is none
    click.get_current_context().with_resource(alone(home))
    return Wallet(home)


def text_of(file: Any) -> str:
    """A whole text file, bounded.  Raises ConfigError: too long."""
    text = file.read(TEXT_BYTES_MAX + 1)
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError(f"{file.name}: more than {TEXT_BYTES_MAX} letters")
    return str(text)


def passphrase_of(file: Path | None) -> str:
    """From a file, or typed.  Raises ConfigError: too long, or no UTF-8."""
    if file is None:
        return str(click.prompt("Passphrase", hide_input=True, err=True))
    with file.open("rb") as opened:
        data = opened.read(PASSPHRASE_BYTES_MAX + 1)
    if len(data) > PASSPHRASE_BYTES_MAX:
        raise ConfigError(f"{file}: a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: the passphrase is no UTF-8") from None


def new_passphrase(file: Path | None) -> str:
    """From a file, or typed twice."""
    if file is not None:
        return passphrase_of(file)
    return str(
        click.prompt(
            "Passphrase for this computer", hide_input=True, confirmation_prompt=True, err=True
        )
    )


def show(found: dict[str, Any], as_json: bool) -> None:
    """A result, for people or as one object."""
    show_text(found, as_json, "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        if isinstance(value, list):
            yield f"{name.replace('_', ' ')}: {len(value)}"
            yield from ("  " + "  ".join(str(part) for part in line.values()) for line in value)
        else:
            yield f"{name.replace('_', ' '):<{width}}  {value}"
