"""Which network a chain is to tools that know Bitcoin's: its headers, its challenge, its magic.

The profile's number stands in the chain's parameters; in profile signet the challenge follows from
the founding members' keys, so that only a genesis record says all.  Other members later do not
change it: another challenge would be another network (docs/adr/0022-profile-signet.md).
Pure.
"""

from collections.abc import Sequence
from dataclasses import replace

from bft.errors import ConfigError
from chain.bitcoin.signet import challenge_of, message_start
from chain.params import Params
from chain.records.federation import Genesis, MemberRecord
from chain.records.profile import REGTEST, Profile, profile_of

REGTEST_MAGIC = bytes.fromhex("fabfb5da")
SIGNERS_MAX = 20
"""Keys of a bare CHECKMULTISIG.  Source: Bitcoin Core, script.h, MAX_PUBKEYS_PER_MULTISIG."""


def network_of(genesis: Genesis) -> Profile:
    """The chain's profile, with its challenge where it has one.

    Raises:
        ConfigError: no such profile, or more members than can sign in this one.
    """
    profile = profile_of(genesis.params.profile)
    if not profile.signed:
        return profile
    members = genesis.membership
    if members.n > SIGNERS_MAX:
        raise ConfigError(
            f"{members.n} members; in profile {profile.name} at most {SIGNERS_MAX} can sign blocks"
        )
    return replace(profile, challenge=challenge_of(members.keys, members.strong))


def check_signers(params: Params, keys: Sequence[bytes], members: Sequence[MemberRecord]) -> None:
    """Returns if `members` may follow those with `keys`: where members sign blocks, the keys stay.

    Raises:
        ConfigError: other members sign than the challenge knows.
    """
    if profile_of(params.profile).signed and {each.key for each in members} != set(keys):
        raise ConfigError(
            "other identity keys than the founders'; in profile signet the challenge, and so the "
            "network, is theirs"
        )


def magic_of(genesis: Genesis) -> bytes:
    """4 bytes in front of every message between nodes."""
    profile = network_of(genesis)
    if profile.signed:
        return message_start(profile.challenge)
    return REGTEST_MAGIC if profile == REGTEST else genesis.chain_id[:4]
