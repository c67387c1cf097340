"""What is fuzzed: one reader of outside bytes, valid samples for it, and what it may answer.

The property of every target: `read` returns (and then, where there is one encoding only, the value
encodes to the very input), or raises one of REFUSALS.  Anything else is a bug.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bft.errors import ConfigError, DecodeError, Refused

REFUSALS = (DecodeError, Refused, ConfigError)
"""DecodeError has BadSignature below it."""

Read = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader.

    Attributes:
        read: gives the value's encoding, or None where several encodings mean the same value.
        samples: inputs that `read` takes, at least one of them.
        covers: "module:function" of the decoders behind it, for the registry.
        inner, wrap: samples of what stands below a signature, and how to sign it; mutations of
            these come through the door, where mutations of `samples` stop at the signature.
        blind: no sample is taken, because a secret that nobody hands out would be needed.
        slow: each input costs milliseconds, so that fewer are tried.
    """

    name: str
    read: Read
    samples: tuple[bytes, ...]
    covers: tuple[str, ...] = ()
    inner: tuple[bytes, ...] = ()
    wrap: Callable[[bytes], bytes] | None = None
    blind: bool = False
    slow: bool = False


class Broken(AssertionError):
    """A target answered what it must not."""


def try_input(target: Target, data: bytes) -> bool:
    """Whether `data` was accepted.  Raises Broken."""
    try:
        encoded = target.read(data)
    except REFUSALS as error:
        if not str(error):
            raise Broken(f"{target.name}: a refusal without a reason, for {data.hex()}") from error
        return False
    except Exception as error:
        raise Broken(
            f"{target.name}: {type(error).__name__}: {error}; for {len(data)} bytes: "
            f"{data[:2048].hex()}"
        ) from error
    if encoded is not None and encoded != data:
        raise Broken(f"{target.name}: {data.hex()} was read, and encodes to {encoded.hex()}")
    return True
