"""`gristmill wallet`: results on stdout, trouble as one of our errors (gristmill/cli.py).

Commands that look at the chain bring the book up to the newest final block first.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bft.errors import ConfigError
from chain.command_group import InOrder
from chain.homes import home_option
from chain.wallet.commands import Wallet
from chain.wallet.home import alone, load_settings

F = TypeVar("F", bound=Callable[..., Any])
PASSPHRASE_BYTES_MAX = 4096
TEXT_BYTES_MAX = 8 * 1024 * 1024

HOME = home_option("wallet", "The wallet's directory.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
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


@click.group(cls=InOrder)
def wallet() -> None:
    """Receive and pay: a wallet of many addresses, restored from words.

    Words are BIP 39, keys BIP 32 and 84 (m/84h/26482h/0h), partially signed transactions BIP 174,
    descriptors BIP 380, so other software reads them.  docs/WALLET.md leads through it.

    \b
    gristmill wallet init
    gristmill wallet address
    gristmill wallet add-key miner/identity.key     # a miner's rewards
    gristmill wallet balance --node http://127.0.0.1:7501
    gristmill wallet send gr1... 12.5 --cookie node/.cookie
    """


@wallet.command()
@HOME
@click.option(
    "--count",
    type=click.Choice(["12", "15", "18", "21", "24"]),
    default="24",
    show_default=True,
    help="How many words.",
)
@PASSPHRASE
@JSON
def init(home: Path, count: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a wallet, and show the words that restore it.

    Write them down: they come only once.

    \b
    gristmill wallet init
    gristmill wallet init --home savings --count 12
    """
    found = Wallet.init(home, int(count), _new_passphrase(passphrase_file))
    _show(found, as_json)


@wallet.command()
@HOME
@click.option(
    "--backup",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `wallet backup` wrote, instead of words.",
)
@click.option(
    "--words-file", type=click.File("r"), help="The words; - reads them from stdin.", metavar="FILE"
)
@click.option("--extension", is_flag=True, help="The words have a BIP 39 passphrase: ask for it.")
@PASSPHRASE
@JSON
def restore(
    home: Path,
    backup: Path | None,
    words_file: Any,
    extension: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a wallet again, from its words or from a backup file.

    \b
    gristmill wallet restore --home again --words-file words.txt
    gristmill wallet restore --home again --backup wallet.backup
    """
    if backup is not None:
        if words_file is not None or extension:
            raise click.UsageError("--backup excludes --words-file and --extension")
        _show(Wallet.restore_backup(home, backup), as_json)
        return
    text = words_file.read(1024) if words_file else click.prompt("Words", hide_input=True, err=True)
    more = click.prompt("BIP 39 passphrase", hide_input=True, err=True) if extension else ""
    _show(Wallet.restore_words(home, text, more, _new_passphrase(passphrase_file)), as_json)


@wallet.command()
@click.argument("descriptor")
@HOME
@JSON
def watch(descriptor: str, home: Path, as_json: bool) -> None:
    """Make a wallet that sees and prepares, but cannot sign.

    DESCRIPTOR is what `wallet descriptor` shows: wpkh([...]xpub.../<0;1>/*).

    \b
    gristmill wallet watch --home watch \\
        'wpkh([1a2b3c4d/84h/26482h/0h]xpub6C.../<0;1>/*)#x7tq2w9n'
    """
    _show(Wallet.watch(home, descriptor), as_json)


@wallet.command()
@HOME
@JSON
def descriptor(home: Path, as_json: bool) -> None:
    """The public side, for `watch` here and for other wallets.  It shows all your payments.

    \b
    gristmill wallet descriptor
    """
    _show({"descriptor": _wallet(home).settings.descriptor}, as_json)


@wallet.command("add-key")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@HOME
@PASSPHRASE
@JSON
def add_key(file: Path, home: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Take a miner's identity key, so that its rewards arrive here.

    FILE holds 64 hex digits, or a key as wallets export it (WIF).  The words do not restore it.

    \b
    gristmill wallet add-key miner/identity.key
    """
    found = _wallet(home).add_key(file, lambda: _passphrase(passphrase_file))
    _show(found, as_json)


@wallet.command()
@HOME
@click.option(
    "--genesis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The genesis record.",
)
@click.option("--key", help="The ONE federation key, 192 hex digits.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key in a file: hex digits, or the federation's key record.",
)
@JSON
def pin(home: Path, genesis: Path, key: str | None, key_file: Path | None, as_json: bool) -> None:
    """Believe no server from now on.

    Every block is checked under the federation's key, as `verify --from` does.

    \b
    gristmill wallet pin --genesis genesis.bin --key-file federation.key
    """
    from chain.node.config import parse_key, read_key_file

    if (key is None) == (key_file is None):
        raise click.UsageError("give one of --key and --key-file")
    known = parse_key(key, "--key") if key else read_key_file(key_file or Path(), None)
    _show(_wallet(home).pin(genesis, known), as_json)


@wallet.command()
@HOME
@JSON
def address(home: Path, as_json: bool) -> None:
    """An address that nobody was given yet.

    \b
    gristmill wallet address
    """
    _show(_wallet(home).new_address(), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def balance(home: Path, node: str, as_json: bool) -> None:
    """What is here.  Rewards can be spent 100 blocks after they were paid.

    \b
    gristmill wallet balance --node http://127.0.0.1:7501
    """
    _show(_wallet(home).balance(node), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def coins(home: Path, node: str, as_json: bool) -> None:
    """Every unspent coin, with its address.

    \b
    gristmill wallet coins --json
    """
    _show(_wallet(home).coins(node), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def history(home: Path, node: str, as_json: bool) -> None:
    """Every transaction that gave or took, and those on their way.

    \b
    gristmill wallet history
    """
    _show(_wallet(home).history(node), as_json)


@wallet.command()
@click.argument("to", metavar="ADDRESS")
@click.argument("value", metavar="AMOUNT")
@HOME
@NODE
@COOKIE
@RATE
@click.option("--dry-run", is_flag=True, help="Make and show the transaction, do not send it.")
@PASSPHRASE
@JSON
def send(
    to: str,
    value: str,
    home: Path,
    node: str,
    cookie: Path,
    fee_rate: int,
    dry_run: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Pay AMOUNT (such as 12.5, or all) to ADDRESS.

    Ends with status 5 if the wallet or the node refuses.

    \b
    gristmill wallet send gr1q... 12.5 --cookie node/.cookie
    gristmill wallet send gr1q... all --dry-run --cookie node/.cookie
    """
    here = _wallet(home)
    found = here.send(
        node, cookie, to, value, fee_rate, dry_run, lambda: _passphrase(passphrase_file)
    )
    _show(found, as_json)


@wallet.command()
@click.argument("txid")
@HOME
@NODE
@COOKIE
@click.option("--fee-rate", type=int, required=True, help="Above the one it was sent with.")
@PASSPHRASE
@JSON
def bump(
    txid: str,
    home: Path,
    node: str,
    cookie: Path,
    fee_rate: int,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Pay more for a transaction that waits too long (BIP 125).

    \b
    gristmill wallet bump TXID --fee-rate 9 --cookie node/.cookie
    """
    found = _wallet(home).bump(node, cookie, txid, fee_rate, lambda: _passphrase(passphrase_file))
    _show(found, as_json)


@wallet.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def backup(file: Path, home: Path, as_json: bool) -> None:
    """Write settings and sealed secrets into one FILE.

    The passphrase opens it.

    \b
    gristmill wallet backup wallet.backup
    """
    _show(_wallet(home).backup(file), as_json)


@wallet.command()
@HOME
@click.option(
    "--from-height",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Blocks below it paid nothing to this wallet.",
)
@JSON
def rescan(home: Path, from_height: int, as_json: bool) -> None:
    """Forget what was found, and read the chain again.

    \b
    gristmill wallet rescan --from-height 100
    """
    _show(_wallet(home).rescan(from_height), as_json)


@wallet.group(cls=InOrder)
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
    _tell(_wallet(home).prepare(node, to, value, fee_rate), as_json)


@psbt.command("sign")
@click.argument("file", type=click.File("r"))
@HOME
@PASSPHRASE
@JSON
def psbt_sign(file: Any, home: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Add the signatures of this wallet's keys.  Look at `psbt show` first.

    \b
    gristmill wallet psbt sign payment.psbt >signed.psbt
    """
    here = _wallet(home)
    _tell(here.sign_text(_text(file), lambda: _passphrase(passphrase_file)), as_json)


@psbt.command("combine")
@click.argument("files", type=click.File("r"), nargs=-1, required=True)
@JSON
def psbt_combine(files: tuple[Any, ...], as_json: bool) -> None:
    """One PSBT with all signatures that are in several.

    \b
    gristmill wallet psbt combine ada.psbt bob.psbt >both.psbt
    """
    from chain.wallet.psbt import combine, decode_text

    _tell({"psbt": combine([decode_text(_text(file)) for file in files]).encode_text()}, as_json)


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

    made, done = finalize(decode_text(_text(file)))
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

    made = extract(finalize(decode_text(_text(file)))[0])
    _show({"txid": made.txid[::-1].hex(), "hex": made.encode().hex()}, as_json)


@psbt.command("show")
@click.argument("file", type=click.File("r"))
@JSON
def psbt_show(file: Any, as_json: bool) -> None:
    """Whom it pays, what it costs, what is signed.

    \b
    gristmill wallet psbt show payment.psbt
    """
    from chain.wallet.commands import describe_psbt

    _show(describe_psbt(_text(file)), as_json)


@psbt.command("send")
@click.argument("file", type=click.File("r"))
@HOME
@NODE
@COOKIE
@JSON
def psbt_send(file: Any, home: Path, node: str, cookie: Path, as_json: bool) -> None:
    """Finalize, extract and send.

    \b
    gristmill wallet psbt send signed.psbt --home watch --cookie node/.cookie
    """
    _show(_wallet(home).send_text(_text(file), node, cookie), as_json)


def _wallet(home: Path) -> Wallet:
    """The wallet, for this command alone until it ends."""
    load_settings(home)  # says so if there is none
    click.get_current_context().with_resource(alone(home))
    return Wallet(home)


def _text(file: Any) -> str:
    text = file.read(TEXT_BYTES_MAX + 1)
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError(f"{file.name}: more than {TEXT_BYTES_MAX} letters")
    return str(text)


def _passphrase(file: Path | None) -> str:
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


def _new_passphrase(file: Path | None) -> str:
    if file is not None:
        return _passphrase(file)
    return str(
        click.prompt(
            "Passphrase for this computer", hide_input=True, confirmation_prompt=True, err=True
        )
    )


def _tell(found: dict[str, Any], as_json: bool) -> None:
    """A PSBT: alone for the next command, the rest on stderr."""
    if as_json:
        _show(found, as_json)
        return
    for name, value in found.items():
        if name != "psbt":
            click.echo(f"{name.replace('_', ' ')}: {value}", file=sys.stderr)
    click.echo(found["psbt"])


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": True, "data": found}))
        return
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        if isinstance(value, list):
            click.echo(f"{name.replace('_', ' ')}: {len(value)}")
            for line in value:
                click.echo("  " + "  ".join(str(part) for part in line.values()))
        else:
            click.echo(f"{name.replace('_', ' '):<{width}}  {value}")
