"""What an update did not tell is kept over crashes; what is lost or damaged does no harm."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from miner.training.feedback import GENERATIONS_KEPT, FeedbackStore, Remainder

JOB, ELEMENTS = bytes(range(32)), 10


def base(cycle: int) -> bytes:
    return bytes([cycle]) * 32


def before(store: FeedbackStore, cycle: int, unit: int = 0, segment: int = 1) -> Remainder:
    return store.before(JOB, base(cycle), unit, segment, ELEMENTS)


def leave(store: FeedbackStore, cycle: int, value: float, unit: int = 0, segment: int = 1) -> None:
    """The unit is trained, and `value` remains of it."""
    found = before(store, cycle, unit, segment)
    values = np.full(ELEMENTS, value, np.float32)
    store.keep(Remainder(values=values, mark=found.mark))


def test_what_remains_is_there_for_the_next_update_of_the_segment(tmp_path: Path) -> None:
    leave(FeedbackStore(tmp_path), 1, 2.5)
    store = FeedbackStore(tmp_path)  # another process
    assert before(store, 2).values.tolist() == [2.5] * ELEMENTS
    assert before(store, 2, segment=0).values.tolist() == [0] * ELEMENTS


def test_a_unit_that_is_trained_again_begins_where_it_began(tmp_path: Path) -> None:
    """Killed between the remainder and the commitment, the miner gives the same update again."""
    store = FeedbackStore(tmp_path)
    leave(store, 1, 1.0)
    leave(store, 2, 2.0)
    assert before(store, 2).values.tolist() == [1.0] * ELEMENTS
    leave(store, 2, 3.0)
    assert before(store, 3).values.tolist() == [3.0] * ELEMENTS


def test_two_units_of_one_segment_do_not_tell_the_same_twice(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    leave(store, 1, 1.0, unit=4)
    leave(store, 1, 2.0, unit=9)
    assert before(store, 1, unit=4).values.tolist() == [0] * ELEMENTS
    assert before(store, 1, unit=9).values.tolist() == [1.0] * ELEMENTS
    assert before(store, 2).values.tolist() == [2.0] * ELEMENTS


def test_another_job_or_another_size_begins_with_nothing(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    leave(store, 1, 1.0)
    assert not store.before(bytes(32), base(2), 0, 1, ELEMENTS).values.any()
    assert store.before(JOB, base(2), 0, 1, 7).values.tolist() == [0] * 7


@pytest.mark.parametrize("place", [0, 1, 5, 40, 100, -40, -33, -1])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, place: int) -> None:
    store = FeedbackStore(tmp_path)
    leave(store, 1, 1.0)
    leave(store, 2, 2.0)
    newest = sorted(tmp_path.iterdir())[-1]
    whole = newest.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 0x10
    for data in (bytes(damaged), whole[:place], whole + b"x", b""):
        newest.write_bytes(data)
        assert before(store, 3).values.tolist() == [1.0] * ELEMENTS
    newest.write_bytes(whole)
    assert before(store, 3).values.tolist() == [2.0] * ELEMENTS


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    for cycle in range(1, GENERATIONS_KEPT + 5):
        leave(store, cycle, float(cycle))
        leave(store, cycle, float(-cycle), segment=7)
    assert len(list(tmp_path.iterdir())) == 2 * GENERATIONS_KEPT
    assert before(store, 100).values[0] == GENERATIONS_KEPT + 4


def test_a_file_under_another_segments_name_is_not_used(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    leave(store, 1, 1.0)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / path.name.replace("00001-", "00002-", 1))
    assert not before(store, 2, segment=2).values.any()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_crashes_lose_and_repeat_nothing(crashes: list[bool]) -> None:
    """Each cycle adds 1 and tells nothing; a crash makes the cycle's unit run again."""
    with tempfile.TemporaryDirectory() as directory:
        for cycle, crashed in enumerate(crashes):
            for _ in range(2 if crashed else 1):
                store = FeedbackStore(Path(directory))
                found = before(store, cycle)
                assert found.values[0] == cycle
                store.keep(Remainder(values=found.values + 1, mark=replace(found.mark)))
