"""From a winner's draft to a block that lacks its work only: replicas sign, the winner collects.

A draft is a whole block with an empty solution and nonce 0.  Each replica checks it as it will
check the block, and signs BIP 325's message with its identity key; `strong` founders' signatures
are the solution.  A signature counts for the key that it verifies under: nobody has to be believed.
Source: BIP 325; docs/PROTOCOL.md, section 14, "Profile signet".  Pure.
"""

from collections.abc import Mapping
from dataclasses import replace

from bft.crypto import identity
from bft.errors import Refused
from chain.bitcoin import signet
from chain.bitcoin.script import operations
from chain.records.block import Block, encode_block
from chain.records.profile import Profile
from chain.records.transaction import climb


def is_draft(block: Block) -> bool:
    """Whether its solution is still empty."""
    return block.coinbase.solution == b""


def message_of(draft: Block, profile: Profile) -> bytes:
    """32 bytes that a replica's identity key signs."""
    certified = draft.certified_header
    coinbase = certified.coinbase.transaction()
    return signet.message(certified.header, coinbase, certified.branch, profile.challenge)


def signers_of(profile: Profile) -> tuple[tuple[bytes, ...], int]:
    """(keys of 33 bytes that may sign, how many must)."""
    parts = list(operations(profile.challenge))
    keys = tuple(part.data or b"" for part in parts[1:-2])
    return keys, signet.required_of(profile.challenge)


class Collecting:
    """Signatures for one draft."""

    def __init__(self, draft: Block, profile: Profile) -> None:
        self._draft, self._profile = draft, profile
        self._message = message_of(draft, profile)
        self._keys, self.required = signers_of(profile)
        self._found: dict[bytes, bytes] = {}

    def take(self, key: bytes, signature: bytes) -> None:
        """Count one replica's signature (64 bytes); the same again counts once.

        Raises:
            Refused: "not-a-founder"; BadSignature: it is not by `key` over this draft.
        """
        if key not in self._keys:
            raise Refused("not-a-founder", f"{key.hex()[:16]} is no key of the challenge")
        identity.verify(key, signature, self._message)
        self._found[key] = signature

    @property
    def count(self) -> int:
        """Different founders that have signed."""
        return len(self._found)

    def solved(self) -> bytes:
        """The block with its solution, its work not done.

        Raises:
            Refused: "not-enough-signatures".
        """
        return with_signatures(self._draft, self._profile, self._found)


def with_signatures(draft: Block, profile: Profile, signatures: Mapping[bytes, bytes]) -> bytes:
    """The block with the solution of these signatures (64 bytes, by key); they are not verified.

    Raises:
        Refused: "not-enough-signatures".
    """
    ders = {key: signet.der_of(signature) for key, signature in signatures.items()}
    solution = signet.solution_of(profile.challenge, ders)
    coinbase = replace(draft.coinbase, solution=solution).transaction()
    root = climb(coinbase.txid, draft.certified_header.branch)
    header = replace(draft.header, merkle_root=root)
    return encode_block(header, (coinbase, *draft.transactions[1:]))
