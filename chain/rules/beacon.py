"""The beacon: unpredictable numbers that nobody can steer, in drand's own format.

Round r is the federation's signature over SHA-256 of r as 8 big-endian bytes; its randomness is
SHA-256 of the signature.  Neither block, view nor member list is in the message, so nothing that
people vote on moves the randomness, and the federation key keeps it through resharing.  Any drand
client verifies a round under scheme `bls-unchained-g1-rfc9380`.

Source: drand, scheme bls-unchained-g1-rfc9380 (the scheme of its quicknet); the chain hash is that
of its common/chain/info.go.
Pure.
"""

from dataclasses import dataclass

from bft.crypto import bls
from bft.crypto.hashing import sha256
from chain.params import Params
from chain.records.federation import Genesis

SCHEME = b"bls-unchained-g1-rfc9380"
BEACON_ID = b"gristmill"
DEFAULT_BEACON_ID = b"default"  # drand leaves this one out of the chain hash
ROUND_MAX = 2**63 - 1
PERIOD_S_MAX = 2**32 - 1
ROUNDS_PER_CYCLE = 2  # see chain/rules/rounds.py


def round_message(number: int) -> bytes:
    """32 bytes that the federation signs in round `number`.

    Raises:
        ValueError: the round is below 0 or does not fit 63 bits.
    """
    if not 0 <= number <= ROUND_MAX:
        raise ValueError(f"round {number} came; rounds are 0..2**63-1")
    return sha256(number.to_bytes(8, "big"))


def randomness(signature: bytes) -> bytes:
    """32 bytes, the output of the round with this signature (48 bytes)."""
    return sha256(signature)


def verify_round(federation_key: bytes, number: int, signature: bytes) -> bytes:
    """The randomness of a round, its signature verified.

    Raises:
        BadSignature: not the federation's signature for this round.
        ValueError: see `round_message`.
    """
    bls.verify(federation_key, signature, round_message(number))
    return randomness(signature)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainInfo:
    """What a drand client must know of a chain; resharing changes nothing in it."""

    federation_key: bytes  # 96
    period_s: int  # u32
    genesis_s: int  # Unix seconds
    genesis_seed: bytes  # 32; drand's group hash, our chain id
    beacon_id: bytes

    @property
    def hash(self) -> bytes:
        """32 bytes, drand's chain hash: the name under which clients pin a chain."""
        named = b"" if self.beacon_id == DEFAULT_BEACON_ID else self.beacon_id
        return sha256(
            self.period_s.to_bytes(4, "big")
            + self.genesis_s.to_bytes(8, "big")
            + self.federation_key
            + self.genesis_seed
            + named
        )


def chain_info(genesis: Genesis, federation_key: bytes) -> ChainInfo:
    """The beacon of this chain, for drand clients."""
    return ChainInfo(
        federation_key=federation_key,
        period_s=nominal_period_s(genesis.params),
        genesis_s=genesis.created_ms // 1000,
        genesis_seed=genesis.chain_id,
        beacon_id=BEACON_ID,
    )


def nominal_period_s(params: Params) -> int:
    """Seconds, rounded up: a cycle's longest time without a repetition, shared by its two rounds.

    A name for the chain more than a promise: phases end early, are repeated, or end the cycle
    before its rounds.  No round's time follows from it.
    """
    seconds = -(-cycle_ms(params) // (1000 * ROUNDS_PER_CYCLE))
    return max(1, min(seconds, PERIOD_S_MAX))


def cycle_ms(params: Params) -> int:
    """A cycle's longest time without a repetition."""
    return (
        params.registration_ms
        + params.training_ms
        + params.reveal_ms
        + params.evaluation_ms
        + params.snapshot_ms
        + params.block_ms
    )
