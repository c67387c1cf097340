"""A guard's memory as JSON: what is stored, exported and imported.  Modelled on EIP-3076.

    {"format": "gristmill/guard/v1",
     "public_key": hex,                           whose memory this is
     "number": 12,                                how often the bounds were raised
     "bounds": {"PREPARE": {"slot": 4711, "rank": [0, 3]}, ...}}

Everything ever signed in a domain lies at or below its bound; whoever takes the key over signs
nothing there.  A key serves one federation, so its memory names no chain.  Pure.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bft.codec.types import U63
from bft.errors import ConfigError
from coordinator.guard.claims import Domain
from coordinator.guard.rules import Bound, Reservation

TEXT_BYTES_MAX = 16 * 1024


class _Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    slot: U63
    rank: tuple[U63, U63]


class _Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["gristmill/guard/v1"]
    public_key: Annotated[str, Meta(pattern="^[0-9a-f]{66}$")]
    number: U63
    bounds: dict[str, _Bound]


def write_memory(public_key: bytes, reservation: Reservation) -> bytes:
    """The same memory gives the same bytes."""
    memory = _Memory(
        format="gristmill/guard/v1",
        public_key=public_key.hex(),
        number=reservation.number,
        bounds={
            domain.name: _Bound(slot=bound.slot, rank=bound.rank)
            for domain, bound in sorted(reservation.bounds.items())
        },
    )
    return msgspec.json.encode(memory)


def read_memory(data: bytes, public_key: bytes, spot: str) -> Reservation:
    """The memory in `data`, which must be of this key.

    Args:
        spot: where it stood, for the error.

    Raises:
        ConfigError: too long, malformed, or of another key.
    """
    if len(data) > TEXT_BYTES_MAX:
        raise ConfigError(f"{spot}: longer than {TEXT_BYTES_MAX} bytes")
    try:
        memory = msgspec.json.decode(data, type=_Memory)
        bounds = {
            Domain[name]: Bound(bound.slot, bound.rank) for name, bound in memory.bounds.items()
        }
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{spot}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{spot}: nested too deeply") from None
    except KeyError as error:
        raise ConfigError(f"{spot}: domain {str(error)[:80]} is unknown") from None
    if memory.public_key != public_key.hex():
        raise ConfigError(
            f"{spot}: of key {memory.public_key[:16]}; {public_key.hex()[:16]} expected"
        )
    return Reservation(memory.number, bounds)
