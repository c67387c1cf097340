"""Errors -> exit statuses and the one line that a person reads.  The only table of both.

Commands raise; `gristmill.cli.main` asks here.  A command whose answer is itself a verdict
(`audit` with findings, `verify` of a false certificate) ends with VERIFICATION_FAILED.
"""

import click

from bft.errors import (
    Busy,
    ConfigError,
    DecodeError,
    FederationError,
    ProtocolViolation,
    Refused,
    Unavailable,
)

OK = 0
UNEXPECTED = 1
USAGE = 2  # click's own
CONFIG = 3
NOT_FOUND = 4
REFUSED = 5
VERIFICATION_FAILED = 6
UNAVAILABLE = 7
MISSING_DEPENDENCY = 69
RETRY = 75
INTERRUPTED = 130  # 128 + SIGINT

EXIT_HELP = """\b
Exit status:
  0 done   1 unexpected error   2 wrong usage   3 wrong configuration
  4 not found   5 refused by the rules   6 verification failed
  7 no quorum, or no answer in time   69 a dependency is not installed
  75 busy, try again later   130 interrupted"""

# First match wins, so a kind stands before the kinds it derives from.
_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigError, CONFIG),
    (Refused, REFUSED),
    (DecodeError, VERIFICATION_FAILED),
    (ProtocolViolation, VERIFICATION_FAILED),
    (Unavailable, UNAVAILABLE),
    (Busy, RETRY),
    (FederationError, UNEXPECTED),
    (ModuleNotFoundError, MISSING_DEPENDENCY),
    (FileNotFoundError, NOT_FOUND),
    (KeyboardInterrupt, INTERRUPTED),
    (click.Abort, INTERRUPTED),
)
# Libraries of an extra -> the extra.  All others come with gristmill itself.
_EXTRA = {"torch": "miner", "sklearn": "miner", "obstore": "coordinator"}
_OURS = ("bft", "chain", "miner", "coordinator", "deploy", "gristmill")


def status_of(error: BaseException) -> int:
    """The exit status for `error`."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and _top(error) in _OURS:
        return UNEXPECTED  # our own bug, nothing that the user could install
    return next((status for kind, status in _STATUS if isinstance(error, kind)), UNEXPECTED)


def line_for(error: BaseException) -> str:
    """One line that says what is wrong and, where we know, what to do about it."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted"
    if isinstance(error, ModuleNotFoundError) and _top(error) not in _OURS:
        extra = _EXTRA.get(_top(error))
        wanted = f"gristmill[{extra}]" if extra else "gristmill"
        return f"{_top(error)} is not installed; it comes with: pip install '{wanted}'"
    if isinstance(error, FederationError):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        spot = f"{error.filename}: " if error.filename is not None else ""
        return f"{spot}{error.strerror}"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected error, a bug of ours: {text} (GRISTMILL_DEBUG=1 shows where)"


def _top(error: ModuleNotFoundError) -> str:
    return (error.name or "").split(".")[0]
