"""No outside bytes bring out anything but a value or a refusal; no decoder is left out of this."""

import logging
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
from tests.fuzz.loop import make_input, shrink
from tests.fuzz.mutation import EDITS_MAX, KINDS, Edit, edited
from tests.fuzz.registry import EXEMPT, ROOT, decoders, tagged_records
from tests.fuzz.table import table
from tests.fuzz.target import Broken, Target, try_input

EXAMPLES, EXAMPLES_SLOW = 40, 10
GROWTH = 64
"""A reader may allocate so many bytes for each byte of its input, and"""
GROWTH_BYTES = 4 * 1024 * 1024
"""so many beside: what libraries and interpreters keep."""
HUGE = tuple(
    bytes.fromhex(length)
    for length in (
        *("c6ffffffff", "dbffffffff", "ddffffffff", "dfffffffff", "feffffffff"),
        *("ffffffffffffffff7f", "ff" * 9),
    )
)

NAMES = sorted(table())


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@st.composite
def hostile(draw: st.DrawFn, target: Target) -> bytes:
    """Raw bytes, an edited sample, or an edited sample under a good signature."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=256))
    edit = st.builds(Edit, st.sampled_from(KINDS), st.integers(0, 1000), st.integers(0, 2**32 - 1))
    edits = draw(st.lists(edit, min_size=1, max_size=EDITS_MAX))
    signed = target.wrap is not None and kind % 2
    samples = target.inner if signed else target.samples
    data = edited(draw(st.sampled_from(samples)), edits, draw(st.sampled_from(samples)))
    return target.wrap(data) if signed and target.wrap is not None else data


@pytest.mark.parametrize("name", NAMES)
def test_hostile_bytes_are_read_or_refused(name: str) -> None:
    target = table()[name]

    @settings(
        deadline=None,
        max_examples=EXAMPLES_SLOW if target.slow else EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile(target))
    def holds(data: bytes) -> None:
        try_input(target, data)

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_valid_samples_are_taken(name: str) -> None:
    target = table()[name]
    taken = [try_input(target, data) for data in target.samples]
    assert any(taken) or target.blind
    if target.wrap is not None:
        assert any(try_input(target, target.wrap(data)) for data in target.inner)


@pytest.mark.parametrize("name", NAMES)
def test_announced_lengths_allocate_nothing(name: str) -> None:
    """A few bytes that announce gigabytes cost about as much as they are."""
    target = table()[name]
    sample = target.samples[0]
    for place in {0, 1, 2, 5, len(sample) // 2, len(sample) - 1}:
        for length in HUGE:
            data = sample[:place] + length + sample[place:][:64]
            tracemalloc.start()
            try:
                try_input(target, data)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak <= GROWTH * len(data) + GROWTH_BYTES


def test_every_decoder_is_in_the_table() -> None:
    """Whoever writes a decoder adds a target, or says in EXEMPT why it is none."""
    covered = {place for target in table().values() for place in target.covers}
    assert decoders() - covered == set()
    assert set(tagged_records()) - covered == set()
    assert covered - decoders() - set(tagged_records()) == set(), "no such decoder any more"


def test_exceptions_from_the_table_still_exist() -> None:
    for place in EXEMPT:
        module, _, name = place.partition(":")
        source = (ROOT / module.replace(".", "/")).with_suffix(".py")
        assert f"def {name}(" in source.read_text(encoding="utf-8")


# The fuzzer's own parts.


def careless(data: bytes) -> None:
    if b"\xc1" in data:
        raise IndexError("a bug")


CARELESS = Target(name="careless", read=careless, samples=(b"\x00" * 8,))


def test_an_exception_of_another_kind_is_found_and_the_input_is_made_small() -> None:
    with pytest.raises(Broken, match="IndexError: a bug"):
        try_input(CARELESS, b"ab\xc1")

    def broken(data: bytes) -> bool:
        try:
            try_input(CARELESS, data)
        except Broken:
            return True
        return False

    assert shrink(b"abc" * 50 + b"\xc1" + b"de" * 99, broken) == b"\xc1"


def test_a_value_that_encodes_to_other_bytes_is_found() -> None:
    target = Target(name="second", read=lambda data: data.lower(), samples=(b"a",))
    assert try_input(target, b"abc")
    with pytest.raises(Broken, match="encodes to"):
        try_input(target, b"Abc")


def test_a_seed_replays_the_same_inputs() -> None:
    from random import Random

    target = table()["request"]
    first = [make_input(target, Random(5)) for _ in range(2)]
    assert first[0] == first[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_edit_takes_every_input(kind: str) -> None:
    for data in (b"", b"\x00", bytes(100)):
        for place in (0, 500, 1000):
            for number in (0, 1, 2**32 - 1):
                edited(data, [Edit(kind, place, number)], b"other")


def test_the_command_runs_a_budget_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--budget", "0", "--target", "header", "--seed", "3", "--own"]) == 0
    assert "seed 3" in capsys.readouterr().out
    assert main(["--target", "nothing"]) == 2
