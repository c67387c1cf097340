"""What a light client keeps between two runs, as bytes.

Trusted when it is read again, as a pinned key is: whoever can write it can make its reader believe
another chain.  It names its chain and key, so it serves no other.  Some 2 kB, and it does not grow.
Pure.
"""

from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U16, U32, U63, Bytes32, GroupKey
from bft.errors import ConfigError, DecodeError
from chain.light.follow import LightChain
from chain.records.block import CERTIFIED_HEADER_BYTES_MAX, decode_certified_header
from chain.validation import ParentView

STATE_BYTES_MAX = 4096


class SavedLight(Record):
    """A LightChain, but for what follows from the genesis record."""

    TAG = "light.state/1"

    chain_id: Bytes32
    federation_key: GroupKey
    height: U32  # of the proven block
    block: Bytes32
    time: U32
    levels: U16
    tip: Annotated[bytes, Meta(max_length=CERTIFIED_HEADER_BYTES_MAX)]  # empty: none
    epoch: U32
    federation: Annotated[bytes, Meta(max_length=32)]
    certified_s: U63


def encode_state(chain: LightChain) -> bytes:
    """At most STATE_BYTES_MAX bytes."""
    return encode(
        SavedLight(
            chain_id=chain.chain_id,
            federation_key=chain.federation_key,
            height=chain.proven.height,
            block=chain.proven.hash,
            time=chain.proven.time,
            levels=chain.levels,
            tip=b"" if chain.tip is None else chain.tip.encode(),
            epoch=chain.epoch,
            federation=chain.federation,
            certified_s=chain.certified_s,
        )
    )


def decode_state(data: bytes, begun: LightChain, source: str) -> LightChain:
    """The chain that was saved; `begun` is the one that nothing was seen of.

    Raises:
        ConfigError: damaged, or of another chain or key; `source` says whose it was.
    """
    try:
        saved = decode(SavedLight, data, bytes_max=STATE_BYTES_MAX)
        tip = decode_certified_header(saved.tip) if saved.tip else None
    except DecodeError as error:
        raise ConfigError(f"{source} is no state of a light client: {error}") from None
    if (saved.chain_id, saved.federation_key) != (begun.chain_id, begun.federation_key):
        raise ConfigError(
            f"{source} is of chain {saved.chain_id.hex()[:16]}, or of another federation key"
        )
    return replace(
        begun,
        proven=ParentView(hash=saved.block, height=saved.height, time=saved.time),
        levels=saved.levels,
        tip=tip,
        epoch=saved.epoch,
        federation=saved.federation,
        certified_s=saved.certified_s,
    )
