"""Which network's headers a chain's blocks have, so that tools made for that network follow it.

`main`: no work at all; block 0 follows from the genesis record.  `regtest`: block 0 is that of
Bitcoin Core's regtest, whose target every hash must meet, so Core's engine checks our blocks whole.
In both a header's nonce is the least that meets the target, so that a third party can alter
nothing.  `signet`: block 0 and work are those of BIP 325, and a solution in the coinbase satisfies
the challenge, which chain/network.py makes of the founding members' keys; any nonce that meets the
target will do, as nobody would look for the least one again.
Source: Bitcoin Core, kernel/chainparams.cpp (`CRegTestParams`, `SigNetParams`), pow.cpp
(`CheckProofOfWork`); docs/adr/0022-profile-signet.md.
Pure.
"""

from dataclasses import dataclass

from bft.crypto.hashing import double_sha256
from bft.errors import ConfigError

NO_WORK_BITS = 0x207FFFFF
_REGTEST_BLOCK_0 = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2"
    "7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4adae5494dffff7f2002000000"
)
_SIGNET_BLOCK_0 = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2"
    "7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a008f4d5fae77031e8ad22203"
)
_COIN = 100_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What a network demands of headers, and what its block 0 is."""

    number: int  # u8, in the chain's parameters
    name: str
    bits: int  # u32, of every header
    target: int  # a hash, read as a little-endian number, is at most this
    block_0: bytes  # 80, its header; empty where it follows from the genesis record
    subsidy_max: int | None = None  # of the first block, smallest unit; None: free
    halving_interval: int | None = None  # blocks; None: free
    signed: bool = False  # replicas sign its blocks (BIP 325), and work follows
    challenge: bytes = b""  # the script that a solution satisfies; empty where it is not known
    block_ms_min: int = 0  # a rank's time must be enough for the work

    def meets(self, header: bytes) -> bool:
        """Whether the hash of a header (80 bytes) is at most the target."""
        return int.from_bytes(double_sha256(header), "little") <= self.target

    def nonce(self, header: bytes) -> int:
        """The one nonce that a header of 80 bytes must have; the one in it does not matter.

        In a profile whose blocks are signed there is no such nonce, see chain/signet/grind.py.
        """
        assert not self.signed
        start, nonce = header[:76], 0
        while not self.meets(start + nonce.to_bytes(4, "little")):
            nonce += 1
        return nonce


MAIN = Profile(number=0, name="main", bits=NO_WORK_BITS, target=2**256 - 1, block_0=b"")
REGTEST = Profile(
    number=1,
    name="regtest",
    bits=NO_WORK_BITS,
    target=0x7FFFFF << 232,
    block_0=_REGTEST_BLOCK_0,
    subsidy_max=50 * _COIN,
    halving_interval=150,
)
SIGNET = Profile(
    number=2,
    name="signet",
    bits=0x1E0377AE,
    target=0x0377AE << 8 * (0x1E - 3),
    block_0=_SIGNET_BLOCK_0,
    subsidy_max=50 * _COIN,
    halving_interval=210_000,
    signed=True,
    block_ms_min=60_000,  # 4.8 million hashes expected; seven times as many fail once in 1 000
)
PROFILES = {profile.number: profile for profile in (MAIN, REGTEST, SIGNET)}


def profile_of(number: int) -> Profile:
    """Raises ConfigError: no profile has this number."""
    found = PROFILES.get(number)
    if found is None:
        known = ", ".join(f"{each.number} ({each.name})" for each in PROFILES.values())
        raise ConfigError(f"params.profile is {number}; known are {known}")
    return found
