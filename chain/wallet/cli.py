"""`gristmill wallet`: results on stdout, trouble as one of our errors (gristmill/cli.py).

Commands that look at the chain bring the book up to the newest final block first.
"""

from pathlib import Path
from typing import Any

import click

from chain.command_group import InOrder
from chain.output import JSON
from chain.wallet.cli_parts import (
    COOKIE,
    HOME,
    NODE,
    PASSPHRASE,
    RATE,
    new_passphrase,
    opened,
    passphrase_of,
    show,
)
from chain.wallet.cli_psbt import psbt
from chain.wallet.commands import Wallet


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
    found = Wallet.init(home, int(count), new_passphrase(passphrase_file))
    show(found, as_json)


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
        show(Wallet.restore_backup(home, backup), as_json)
        return
    text = words_file.read(1024) if words_file else click.prompt("Words", hide_input=True, err=True)
    more = click.prompt("BIP 39 passphrase", hide_input=True, err=True) if extension else ""
    show(Wallet.restore_words(home, text, more, new_passphrase(passphrase_file)), as_json)


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
    show(Wallet.watch(home, descriptor), as_json)


@wallet.command()
@HOME
@JSON
def descriptor(home: Path, as_json: bool) -> None:
    """The public side, for `watch` here and for other wallets.  It shows all your payments.

    \b
    gristmill wallet descriptor
    """
    show({"descriptor": opened(home).settings.descriptor}, as_json)


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
    found = opened(home).add_key(file, lambda: passphrase_of(passphrase_file))
    show(found, as_json)


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
    show(opened(home).pin(genesis, known), as_json)


@wallet.command()
@HOME
@JSON
def address(home: Path, as_json: bool) -> None:
    """An address that nobody was given yet.

    \b
    gristmill wallet address
    """
    show(opened(home).new_address(), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def balance(home: Path, node: str, as_json: bool) -> None:
    """What the wallet owns.  Rewards can be spent 100 blocks after they were paid.

    \b
    gristmill wallet balance --node http://127.0.0.1:7501
    """
    show(opened(home).balance(node), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def coins(home: Path, node: str, as_json: bool) -> None:
    """Every unspent coin, with its address.

    \b
    gristmill wallet coins --json
    """
    show(opened(home).coins(node), as_json)


@wallet.command()
@HOME
@NODE
@JSON
def history(home: Path, node: str, as_json: bool) -> None:
    """Every transaction that gave or took, and those on their way.

    \b
    gristmill wallet history
    """
    show(opened(home).history(node), as_json)


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
    here = opened(home)
    found = here.send(
        node, cookie, to, value, fee_rate, dry_run, lambda: passphrase_of(passphrase_file)
    )
    show(found, as_json)


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
    found = opened(home).bump(node, cookie, txid, fee_rate, lambda: passphrase_of(passphrase_file))
    show(found, as_json)


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
    show(opened(home).backup(file), as_json)


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
    show(opened(home).rescan(from_height), as_json)


wallet.add_command(psbt)
