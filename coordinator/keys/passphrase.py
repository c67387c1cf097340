"""Where a passphrase comes from: a file, a systemd credential, a command, or somebody who types it.

Never from an argument or an environment variable: other processes can see those.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import click
import msgspec
from msgspec import Meta

from bft.errors import ConfigError
from chain.settings import says
from coordinator.keys.files import read_private
from coordinator.keys.store import is_encrypted

PASSPHRASE_BYTES_MAX = 4096
COMMAND_S = 60  # a person may have to touch a token
CREDENTIAL = "gristmill-passphrase"
"""The systemd credential that is taken when settings name no source: LoadCredential=..."""

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"  # set by systemd

Text = Annotated[str, Meta(min_length=1, max_length=PASSPHRASE_BYTES_MAX, title="text")]
Ask = Callable[[str], str]


class PassphraseSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings: at most one of them."""

    file: Annotated[Text | None, says("A file of mode 0600; relative to the home.")] = None
    credential: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,255}$", title="letters, digits and _.@-")]
        | None,
        says("The name of a systemd credential."),
    ] = None
    command: Annotated[
        Annotated[list[Text], Meta(min_length=1, max_length=64)] | None,
        says("A command that prints it, with its arguments; no shell is between."),
    ] = None

    def __post_init__(self) -> None:
        named = [one for one in (self.file, self.credential, self.command) if one is not None]
        if len(named) > 1:
            raise ValueError("file, credential and command exclude each other")


UNSAID = PassphraseSource()


def find_passphrase(
    home: Path,
    source: PassphraseSource = UNSAID,
    *,
    file: Path | None = None,
    ask: Ask | None = None,
) -> bytes | None:
    """The passphrase of `home`; None if its keys are plain.

    Looked for in this order: `file`; what the settings name; the systemd credential
    "gristmill-passphrase"; a person at the terminal.

    Args:
        file: from the command line.
        ask: (prompt) -> passphrase; by default a question at the terminal if there is one.

    Raises:
        ConfigError: none of them has it.
    """
    if not is_encrypted(home):
        return None
    if file is not None:
        return passphrase_from_file(file)
    if source.file is not None:
        return passphrase_from_file(home / source.file)
    if source.credential is not None:
        return _from_credential(source.credential)
    if source.command is not None:
        return _from_command(source.command)
    if _credential_path(CREDENTIAL) is not None:
        return _from_credential(CREDENTIAL)
    asking = ask or terminal()
    if asking is not None:
        return checked(asking(f"Passphrase of {home}: ").encode(), "the answer")
    raise ConfigError(
        f"the keys in {home} are encrypted, and nothing says where their passphrase is: set "
        "`passphrase` in replica.yaml, give --passphrase-file, or the systemd credential "
        f"{CREDENTIAL!r}"
    )


def new_passphrase(file: Path | None, ask: Ask | None = None) -> bytes | None:
    """A passphrase to come: from `file`, or asked for twice at a terminal; None without either.

    Raises:
        ConfigError: as `checked`, or the two answers differ.
    """
    if file is not None:
        return passphrase_from_file(file)
    asking = ask or terminal()
    if asking is None:
        return None
    first, second = asking("New passphrase: "), asking("The same again: ")
    if first != second:
        raise ConfigError("the two passphrases differ; nothing was changed")
    return checked(first.encode(), "the answer")


def terminal() -> Ask | None:
    """A question whose answer is not shown; None where nobody sits."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda text: str(click.prompt(text, hide_input=True, err=True, prompt_suffix=""))


def passphrase_from_file(path: Path) -> bytes:
    """The first line of a private file.  Raises ConfigError."""
    return checked(read_private(path), str(path))


def _from_credential(name: str) -> bytes:
    path = _credential_path(name)
    if path is None:
        raise ConfigError(
            f"the systemd credential {name!r} is not there; LoadCredential= in the unit gives it"
        )
    # systemd keeps credentials on memory that cannot be swapped, 0440 for its own group.
    return checked(path.read_bytes()[: PASSPHRASE_BYTES_MAX + 1], str(path))


def _credential_path(name: str) -> Path | None:
    directory = os.environ.get(CREDENTIALS_DIRECTORY)
    path = Path(directory) / name if directory else None
    return path if path is not None and path.is_file() else None


def _from_command(command: list[str]) -> bytes:
    try:
        done = subprocess.run(  # the operator's own settings name it; no shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_S, check=True
        )
    except OSError as error:
        raise ConfigError(f"passphrase command {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"passphrase command {command[0]}: no end in {COMMAND_S} s") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            f"passphrase command {command[0]}: ended with status {error.returncode}"
        ) from None
    return checked(done.stdout, f"passphrase command {command[0]}")


def checked(data: bytes, spot: str) -> bytes:
    """The first line of what a source gave.

    Raises:
        ConfigError: empty, too long, or more lines than one.
    """
    line, _, rest = data.partition(b"\n")
    line = line.removesuffix(b"\r")
    if rest.strip():
        raise ConfigError(f"{spot}: more than one line; a passphrase is one line")
    if not 0 < len(line) <= PASSPHRASE_BYTES_MAX:
        raise ConfigError(
            f"{spot}: a passphrase of {len(line)} bytes; 1 to {PASSPHRASE_BYTES_MAX} expected"
        )
    return line
