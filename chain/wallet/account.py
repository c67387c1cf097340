"""An account: the addresses of a descriptor and of single keys, and the PSBTs that spend from them.

Source: BIP 84; Gristmill has no number in SLIP 44, so `COIN_TYPE` is a choice of ours.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bft.errors import Refused
from chain.bitcoin.address import GRISTMILL, encode_address
from chain.bitcoin.signing import hash160
from chain.records.coinbase import pay_to_key
from chain.records.serialization import blob
from chain.wallet.book import CHANGE, KEY, RECEIVE, Owned
from chain.wallet.build import Plan
from chain.wallet.descriptor import Descriptor
from chain.wallet.hdkey import HARDENED, ExtendedKey, master_key
from chain.wallet.psbt import DERIVATION, OUTPUT_DERIVATION, SPENT, Psbt, create, write_derivation
from chain.wallet.sign import Find

PURPOSE, COIN_TYPE = 84, 0x6772  # "gr"
ACCOUNT_PATH = (PURPOSE + HARDENED, COIN_TYPE + HARDENED, HARDENED)


def descriptor_of(seed: bytes) -> Descriptor:
    """The public side of the account behind a seed."""
    root = master_key(seed)
    key = root.derive(ACCOUNT_PATH).neutered
    return Descriptor(key=key, origin=root.fingerprint, path=ACCOUNT_PATH)


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a wallet watches."""

    descriptor: Descriptor
    keys: tuple[bytes, ...] = ()  # 33 each, single public keys

    def __post_init__(self) -> None:
        branches = {at: self.descriptor.key.child(at) for at in (RECEIVE, CHANGE)}
        object.__setattr__(self, "_branches", branches)

    def public_key(self, branch: int, number: int) -> bytes | None:
        """33 bytes; None: there is none."""
        if branch == KEY:
            return self.keys[number] if number < len(self.keys) else None
        branches: dict[int, ExtendedKey] = self.__dict__["_branches"]
        try:
            return branches[branch].child(number).public
        except Refused:
            return None  # BIP 32: one in 2**127 is left out

    def script(self, branch: int, number: int) -> bytes | None:
        """P2WPKH; None: there is none."""
        key = self.public_key(branch, number)
        return None if key is None else pay_to_key(key)

    def address(self, branch: int, number: int) -> str:
        """As people give it out."""
        script = self.script(branch, number)
        found = None if script is None else encode_address(script, GRISTMILL)
        assert found is not None, (branch, number)
        return found

    def derivation(self, branch: int, number: int) -> tuple[bytes, bytes]:
        """(public key, origin and path as PSBTs hold them)."""
        key = self.public_key(branch, number)
        assert key is not None
        if branch == KEY:
            return key, hash160(key)[:4]
        path = (*self.descriptor.path, branch, number)
        return key, write_derivation(self.descriptor.origin, path)

    def psbt(self, plan: Plan, change: tuple[int, int]) -> Psbt:
        """A plan with all that a signer, also one without the chain, needs to know."""
        made = create(plan.transaction)
        inputs = tuple(self._input(coin) for coin in plan.chosen)
        outputs = [dict(each) for each in made.outputs]
        if plan.change is not None:
            key, value = self.derivation(*change)
            outputs[plan.change] = {bytes([OUTPUT_DERIVATION]) + key: value}
        return replace(made, inputs=inputs, outputs=tuple(outputs))

    def _input(self, coin: Owned) -> dict[bytes, bytes]:
        key, value = self.derivation(coin.branch, coin.number)
        spent = coin.output.value.to_bytes(8, "little") + blob(coin.output.script)
        return {SPENT: spent, bytes([DERIVATION]) + key: value}


def finder(seed: bytes | None, singles: Sequence[tuple[bytes, bytes]]) -> Find:
    """How a signer finds secrets, in a seed and in single keys (public, secret)."""
    root = None if seed is None else master_key(seed)
    known = dict(singles)

    def find(public: bytes, fingerprint: bytes, path: tuple[int, ...]) -> bytes | None:
        if public in known:
            return known[public]
        if root is None or fingerprint != root.fingerprint:
            return None
        found = root.derive(path)
        return found.secret if found.public == public else None

    return find
