"""chain/rules/lottery.py against a second, naive lottery."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from bft.crypto.hashing import sha256
from chain.rules.lottery import draw
from tests.chain.audit.mill import key
from tests.oracle import naive

KEYS = [key(f"miner {number}").public_key for number in range(6)]
DRAWS = 3_000

seeds = st.binary(min_size=32, max_size=32)
held = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1))
)


@settings(deadline=None)
@given(seeds, held, st.integers(0, 8))
def test_the_draw_is_the_naive_one(
    randomness: bytes, tickets: dict[bytes, int], ranks_max: int
) -> None:
    ranks = [(rank.miner, rank.tickets) for rank in draw(randomness, tickets, ranks_max)]
    assert ranks == naive.draw(randomness, tickets, ranks_max)


@settings(deadline=None)
@given(seeds, held)
def test_who_wins_does_not_depend_on_the_order_in_which_tickets_came(
    randomness: bytes, tickets: dict[bytes, int]
) -> None:
    backwards = dict(reversed(list(tickets.items())))
    assert draw(randomness, tickets, 8) == draw(randomness, backwards, 8)


def test_winners_are_as_frequent_as_their_tickets_say() -> None:
    """Fixed seeds, so the figures are always the same: within four standard deviations."""
    tickets = {KEYS[0]: 1, KEYS[1]: 3, KEYS[2]: 6}
    wins = Counter(
        draw(sha256(number.to_bytes(4, "big")), tickets, 1)[0].miner for number in range(DRAWS)
    )
    for miner, count in tickets.items():
        chance = Fraction(count, 10)
        variance = DRAWS * chance * (1 - chance)
        assert (wins[miner] - DRAWS * chance) ** 2 < 16 * variance
