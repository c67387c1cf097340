"""Which release of this package runs here."""

import importlib.metadata
from functools import cache

UNKNOWN = "unknown"


@cache
def release() -> str:
    """The installed version; UNKNOWN where the package runs without being installed."""
    try:
        return importlib.metadata.version("gristmill")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
