"""`gristmill wallet psbt`: payments that are made, signed and sent at different places."""

import sys
from pathlib import Path
from typing import Any

import click

from chain.command_group import InOrder
from chain.output import JSON
from chain.wallet.cli_parts import (
    COOKIE,
    FEE_MAX,
    HOME,
    NODE,
    PASSPHRASE,
    RATE,
    opened,
    passphrase_of,
    show,
    text_of,
    units_of,
)


@click.group(cls=InOrder)
def psbt() -> None:
    """Partially signed transactions (BIP 174).

    They come in base 64: made here, signed elsewhere, sent here.

    FILE may be - for stdin.  Without --json the PSBT alone is printed.
    """


@psbt.command("create")
@click.argument("to", metavar="ADDRESS")
@click.argument("value", metavar="AMOUNT")
@HOME
@NODE
@RATE
@JSON
def psbt_create(to: str, value: str, home: Path, node: str, fee_rate: int, as_json: bool) -> None:
    """Prepare a payment without signing it; a watch-only wallet can.

    \b
    gristmill wallet psbt create gr1q... 11 --home watch >payment.psbt
    """
    _tell(opened(home).prepare(node, to, value, fee_rate), as_json)


@psbt.command("sign")
@click.argument("file", type=click.File("r"))
@HOME
@FEE_MAX
@PASSPHRASE
@JSON
def psbt_sign(
    file: Any, home: Path, highest: str | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Add the signatures of this wallet's keys.  Look at `psbt show` first.

    Ends with status 5 if it pays an absurd fee, or lies about a coin of the wallet.

    \b
    gristmill wallet psbt sign payment.psbt >signed.psbt
    gristmill wallet psbt sign payment.psbt --fee-max 0.5 >signed.psbt
    """
    here, most = opened(home), units_of(highest)
    _tell(here.sign_text(text_of(file), lambda: passphrase_of(passphrase_file), most), as_json)


@psbt.command("combine")
@click.argument("files", type=click.File("r"), nargs=-1, required=True)
@JSON
def psbt_combine(files: tuple[Any, ...], as_json: bool) -> None:
    """One PSBT with all signatures that are in several.

    \b
    gristmill wallet psbt combine ada.psbt bob.psbt >both.psbt
    """
    from chain.wallet.psbt import combine, decode_text

    _tell({"psbt": combine([decode_text(text_of(file)) for file in files]).encode_text()}, as_json)


@psbt.command("finalize")
@click.argument("file", type=click.File("r"))
@JSON
def psbt_finalize(file: Any, as_json: bool) -> None:
    """Make final scripts of the signatures, where they are enough.

    \b
    gristmill wallet psbt finalize signed.psbt >final.psbt
    """
    from chain.wallet.psbt import decode_text
    from chain.wallet.sign import finalize

    made, done = finalize(decode_text(text_of(file)))
    _tell({"psbt": made.encode_text(), "complete": done}, as_json)


@psbt.command("extract")
@click.argument("file", type=click.File("r"))
@JSON
def psbt_extract(file: Any, as_json: bool) -> None:
    """The finished transaction, every script in it run.

    \b
    gristmill wallet psbt extract final.psbt
    """
    from chain.wallet.psbt import decode_text
    from chain.wallet.sign import extract, finalize

    made = extract(finalize(decode_text(text_of(file)))[0])
    show({"txid": made.txid[::-1].hex(), "hex": made.encode().hex()}, as_json)


@psbt.command("show")
@click.argument("file", type=click.File("r"))
@JSON
def psbt_show(file: Any, as_json: bool) -> None:
    """Whom it pays, what it costs, what is signed.

    \b
    gristmill wallet psbt show payment.psbt
    """
    from chain.wallet.commands import describe_psbt

    show(describe_psbt(text_of(file)), as_json)


@psbt.command("send")
@click.argument("file", type=click.File("r"))
@HOME
@NODE
@COOKIE
@FEE_MAX
@JSON
def psbt_send(
    file: Any, home: Path, node: str, cookie: Path, highest: str | None, as_json: bool
) -> None:
    """Finalize, extract and send.

    Ends with status 5 if it pays an absurd fee, or the node refuses.

    \b
    gristmill wallet psbt send signed.psbt --home watch --cookie node/.cookie
    gristmill wallet psbt send signed.psbt --fee-max 0.5 --cookie node/.cookie
    """
    here, most = opened(home), units_of(highest)
    show(here.send_text(text_of(file), node, cookie, most), as_json)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    """A PSBT: alone for the next command, the rest on stderr."""
    if as_json:
        show(found, as_json)
        return
    for name, value in found.items():
        if name != "psbt":
            click.echo(f"{name.replace('_', ' ')}: {value}", file=sys.stderr)
    click.echo(found["psbt"])
