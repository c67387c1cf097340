"""The secret side needs the session's own seed and a finished session."""

import pytest

from bft.crypto.threshold import KeyShare
from bft.dkg.messages import DkgKeys, Phase
from bft.dkg.participant import key_share, owed, seed_is_lost, wants_seed
from bft.dkg.secrets import SEEDS_MAX, SHARES_MAX, Secrets, for_session
from bft.errors import ConfigError, Refused
from tests.bft.dkg.ceremony import opened, said_by, secrets_of, until

ANOTHER_SEED = bytes([255] * 32)


@pytest.mark.parametrize("phase", [Phase.DEALING, Phase.COMPLAINT])
@pytest.mark.parametrize("held", [None, ANOTHER_SEED])
def test_a_lost_seed_is_told_and_as_receiver_nothing_is_said_with_another(
    phase: Phase, held: bytes | None
) -> None:
    transcript = until(opened(4), phase)
    secrets = Secrets() if held is None else for_session(transcript.session, held)
    assert seed_is_lost(transcript, 1, secrets)
    assert not seed_is_lost(transcript, 1, secrets_of(transcript, 1))
    assert owed(transcript, 1, None, secrets) == ()


def test_a_seed_is_wanted_until_what_depends_on_it_is_said() -> None:
    keys, none = opened(4), Secrets()
    assert wants_seed(keys, 0, 0, none) and not wants_seed(keys, 0, 0, secrets_of(keys, 0))
    assert not wants_seed(keys, None, None, none)
    dealing = until(keys, Phase.DEALING)
    assert wants_seed(dealing, 0, 0, none) and not wants_seed(dealing, 0, None, none)
    assert not wants_seed(until(dealing, Phase.COMPLAINT), 0, 0, none)


def test_there_is_no_share_before_the_end_or_for_another_seed() -> None:
    early, done = until(opened(4), Phase.COMPLAINT), until(opened(4), Phase.DONE)
    for transcript, secrets, code in (
        (early, secrets_of(early, 1), "not-done"),
        (done, for_session(done.session, ANOTHER_SEED), "no-share"),
        (done, Secrets(), "no-share"),
    ):
        with pytest.raises(Refused) as raised:
            key_share(transcript, 1, secrets)
        assert raised.value.code == code


def test_seeds_make_no_key_twice_in_two_sessions() -> None:
    (first,), (second,) = said_by(opened(4), 0), said_by(opened(7), 0)
    assert isinstance(first, DkgKeys) and isinstance(second, DkgKeys)
    assert not set(first.keys) & set(second.keys)


# What is kept


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ConfigError):
        for_session(bytes(32), bytes(size))


def test_no_seed_and_no_key_share_replaces_another() -> None:
    share = KeyShare(index=2, secret=5)
    secrets = for_session(bytes(32), ANOTHER_SEED).with_share(1, share)
    assert secrets.with_seed(bytes(32), ANOTHER_SEED).with_share(1, share) == secrets
    with pytest.raises(ConfigError):
        secrets.with_seed(bytes(32), bytes(32))
    with pytest.raises(ConfigError):
        secrets.with_share(1, KeyShare(index=3, secret=5))
    assert secrets.share_of(1) == share and secrets.share_of(0) is None


def test_what_is_over_is_forgotten() -> None:
    sessions = [bytes([number]) * 32 for number in range(SEEDS_MAX + 1)]
    secrets = Secrets()
    for session in sessions:
        secrets = secrets.with_seed(session, session)
    assert [held.session for held in secrets.seeds] == sessions[1:]
    secrets = secrets.without_seeds(frozenset(sessions[2:3]))
    assert [held.session for held in secrets.seeds] == sessions[2:3]
    for epoch in range(SHARES_MAX + 1):
        secrets = secrets.with_share(epoch, KeyShare(index=0, secret=epoch + 1))
    assert [held.epoch for held in secrets.shares] == list(range(1, SHARES_MAX + 1))
    kept = secrets.without_shares_before(SHARES_MAX)
    assert [held.epoch for held in kept.shares] == [SHARES_MAX]


def test_no_secret_is_printed() -> None:
    secrets = for_session(bytes(32), ANOTHER_SEED).with_share(0, KeyShare(index=0, secret=77777))
    said = repr(secrets) + str(secrets)
    assert "77777" not in said and r"\xff" not in said and r"\x01\x2f\xd1" not in said
