"""The secret side needs the right seed and a finished session."""

import pytest

from bft.dkg.messages import Phase
from bft.dkg.participant import key_share, owed
from bft.errors import ConfigError, Refused
from tests.bft.dkg.ceremony import opened, seed_of, until

ANOTHER_SEED = bytes([255] * 32)


@pytest.mark.parametrize("phase", [Phase.DEALING, Phase.COMPLAINT])
def test_a_lost_seed_is_noticed_and_nothing_is_said_with_another(phase: Phase) -> None:
    with pytest.raises(ConfigError):
        owed(until(opened(4), phase), 1, ANOTHER_SEED)


def test_there_is_no_share_before_the_end_or_for_another_seed() -> None:
    with pytest.raises(Refused) as raised:
        key_share(until(opened(4), Phase.COMPLAINT), 1, seed_of(1))
    assert raised.value.code == "not-done"
    with pytest.raises(ConfigError):
        key_share(until(opened(4), Phase.DONE), 1, ANOTHER_SEED)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ConfigError):
        owed(opened(4), 0, bytes(size))
    with pytest.raises(ConfigError):
        key_share(until(opened(4), Phase.DONE), 0, bytes(size))


def test_seeds_make_no_key_twice_in_two_sessions() -> None:
    first = owed(opened(4), 0, seed_of(0))[0]
    second = owed(opened(7), 0, seed_of(0))[0]
    assert not set(first.keys) & set(second.keys)  # type: ignore[union-attr]
