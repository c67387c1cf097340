"""`gristmill operator keys`: how the secrets of a home are kept."""

from pathlib import Path

import click

from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON, show_text

_HOME = home_option("replica", "The replica's directory.")
_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Holds the passphrase, mode 0600; instead of what replica.yaml says.",
)
_NEW = click.option(
    "--new-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Holds the new passphrase, mode 0600; else it is asked for.",
)


@click.group(cls=InOrder)
def keys() -> None:
    """Secrets at rest: encrypt, change passphrase, back up."""


@keys.command()
@_HOME
@JSON
def status(home: Path, as_json: bool) -> None:
    """Which secrets are here, and whether they are encrypted.  Needs no passphrase.

    \b
    gristmill operator keys status --home ada
    """
    from coordinator.keys.store import is_encrypted, secret_names

    names, encrypted = secret_names(home), is_encrypted(home)
    told = {"home": str(home), "encrypted": encrypted, "secrets": names}
    how = "encrypted" if encrypted else "PLAIN: whoever reads the disk or a backup has them"
    show_text(told, as_json, f"{', '.join(names) or 'no secrets'} in {home}, {how}")


@keys.command()
@_HOME
@_NEW
@JSON
def encrypt(home: Path, new_passphrase_file: Path | None, as_json: bool) -> None:
    """Encrypt what is plain.  The replica must be stopped; may be repeated after a crash.

    Old sectors of the disk and old backups keep what was plain: only new keys cure that.

    \b
    gristmill operator keys encrypt --home ada --new-passphrase-file ada.pass
    """
    from coordinator.keys.files import exclusive
    from coordinator.keys.store import encrypt_home

    passphrase = _wanted(new_passphrase_file)
    with exclusive(home / "lock"):
        done = encrypt_home(home, passphrase)
    told = {"home": str(home), "encrypted": list(done)}
    show_text(told, as_json, f"encrypted: {', '.join(done) or 'nothing was plain'}")


@keys.command()
@_HOME
@_PASSPHRASE
@_NEW
@JSON
def change_passphrase(
    home: Path, passphrase_file: Path | None, new_passphrase_file: Path | None, as_json: bool
) -> None:
    """Another passphrase for the same keys.

    Whoever has an old keystore.json and the old passphrase still has the keys.

    \b
    gristmill operator keys change-passphrase --home ada
    """
    from coordinator.config import Home, load_config
    from coordinator.keys.passphrase import find_passphrase
    from coordinator.keys.store import open_keystore

    source = load_config(Home(home).config).passphrase
    old = find_passphrase(home, source, file=passphrase_file)
    open_keystore(home, old).change_passphrase(_wanted(new_passphrase_file))
    told = {"home": str(home)}
    show_text(told, as_json, f"the keys in {home} open with the new passphrase only")


@keys.command()
@_HOME
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A new file."
)
@click.option("--plain", is_flag=True, help="Although the keys are not encrypted.")
@JSON
def backup(home: Path, output: Path, plain: bool, as_json: bool) -> None:
    """Pack keys, certificate and settings into one tar file.

    The genesis record too; never what changes.

    Journal and guard are left out on purpose: old copies of them forget promises.

    \b
    gristmill operator keys backup --home ada --output ada.tar
    """
    from coordinator.keys.backup import write_backup

    names = write_backup(home, output, plain=plain)
    show_text(
        {"files": list(names), "output": str(output)}, as_json, f"{len(names)} files in {output}"
    )


@keys.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_HOME
@JSON
def restore(archive: Path, home: Path, as_json: bool) -> None:
    """Put a backup into a home that has no keys.

    It signs nothing until its guard's memory is there as well: `gristmill operator guard --help`.

    \b
    gristmill operator keys restore ada.tar --home new-ada
    """
    from coordinator.keys.backup import read_backup

    names = read_backup(archive, home)
    text = (
        f"{len(names)} files in {home}.  This key signs nothing before its guard's memory is here: "
        "`gristmill operator guard import`, or `reset`"
    )
    show_text({"files": list(names), "home": str(home)}, as_json, text)


def _wanted(file: Path | None) -> bytes:
    from bft.errors import ConfigError
    from coordinator.keys.passphrase import new_passphrase

    found = new_passphrase(file)
    if found is None:
        raise ConfigError("nobody is at the terminal to type a passphrase: --new-passphrase-file")
    return found
