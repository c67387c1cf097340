"""Settings in YAML -> one frozen structure; anything else in the file is the operator's error.

PyYAML's safe loader raises more than YAMLError: a date that no calendar has, a number of 5000
digits, a tag on the wrong kind of value, and nesting deeper than Python's stack each come as
another exception.
"""

from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Meta

from bft.errors import ConfigError

SETTINGS_BYTES_MAX = 64 * 1024

S = TypeVar("S", bound=msgspec.Struct)


def says(text: str) -> Meta:
    """What a setting is for: Annotated[int, says("Seconds; ...")].

    `gristmill config` and docs/CONFIGURATION.md show it; a test holds that every setting has one.
    """
    return Meta(description=text)


def parse_settings(kind: type[S], data: bytes, spot: str) -> S:
    """The settings in a file's bytes; an empty file is an empty mapping.

    Args:
        spot: where they stood, for the error.

    Raises:
        ConfigError: too long, no YAML, or against `kind`; the text names `spot` and the path in it.
    """
    if len(data) > SETTINGS_BYTES_MAX:
        raise ConfigError(f"{spot}: longer than {SETTINGS_BYTES_MAX} bytes")
    try:
        raw: Any = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ConfigError(f"{spot}: {' '.join(str(error).split())}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{spot}: a value cannot be read: {error}") from None
    except RecursionError:
        raise ConfigError(f"{spot}: nested too deeply") from None
    try:
        return msgspec.convert({} if raw is None else raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{spot}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{spot}: nested too deeply") from None
