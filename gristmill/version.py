"""What is installed here: `gristmill version`."""

import importlib.metadata
import platform

import click

from chain.output import JSON, show_text

VERSION = "0.1.0"
# What changes a result or a connection; a report of trouble should name these.
_TOLD = ("torch", "numpy", "msgspec", "coincurve", "py-arkworks-bls12381", "pyblst", "cryptography")


def versions() -> dict[str, str | None]:
    """Name -> version of ourselves, Python and the libraries that matter; None: not installed."""
    told: dict[str, str | None] = {"gristmill": VERSION, "python": platform.python_version()}
    for name in _TOLD:
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told[name] = None
    return told


@click.command()
@JSON
def version(as_json: bool) -> None:
    """Versions of gristmill and of what it stands on.

    \b
    gristmill version --json
    """
    told = versions()
    lines = [f"{name} {what or 'not installed'}" for name, what in told.items()]
    show_text(told, as_json, "\n".join(lines))
