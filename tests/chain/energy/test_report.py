"""Joules per block and per nat: the arithmetic, and what is left out where it is not known."""

import xml.etree.ElementTree as ElementTree

import pytest

from chain.energy.plot import bars, plot
from chain.energy.report import BITCOIN_JOULES_PER_BLOCK, CycleEnergy, sum_up


def used(cycle: int, joules: int, loss: int | None = None, height: int | None = None):  # type: ignore[no-untyped-def]
    return CycleEnergy(
        cycle=cycle,
        training_mj=600 * joules,
        replicas_mj=400 * joules,
        replicas_told=4,
        estimated_mj=500 * joules,
        loss=loss,
        height=height,
    )


RUN = [used(2, 10, 900_000, 1), used(3, 20, None), used(4, 30, 400_000, 2)]


def test_a_block_costs_the_cycles_without_one_as_well() -> None:
    told = sum_up(RUN, 1_000_000)
    assert (told["joules"], told["blocks"], told["joules_per_block"]) == (60, 2, 30)
    assert told["estimated_part"] == 0.5
    assert told["loss_reduction_nats"] == pytest.approx(0.6)
    assert told["joules_per_nat"] == pytest.approx(60 / 0.6)
    assert told["bitcoin"]["times_ours"] == BITCOIN_JOULES_PER_BLOCK / 30


def test_without_the_loss_before_the_first_cycle_buys_nothing() -> None:
    told = sum_up(RUN, None)
    assert told["loss_reduction_nats"] == pytest.approx(0.5)
    assert told["joules_per_nat"] == pytest.approx(50 / 0.5)


@pytest.mark.parametrize(
    "cycles", [[], [used(1, 0)], [used(1, 5, 100)], [used(1, 5, 100), used(2, 5, 100)]]
)
def test_what_is_not_known_is_not_made_up(cycles: list[CycleEnergy]) -> None:
    told = sum_up(cycles, None)
    assert told["joules_per_block"] is None and told["joules_per_nat"] is None
    ElementTree.fromstring(plot(cycles, told))


def test_the_picture_has_a_bar_for_each_block_and_bitcoins() -> None:
    told = sum_up(RUN, None)
    names = [name for name, _, _ in bars(RUN, told)]
    assert names == ["block 1", "block 2", "mean of ours", "one of Bitcoin's"]
    picture = plot(RUN, told)
    ElementTree.fromstring(picture)
    assert all(name.replace("'", "&#x27;") in picture for name in names)
    assert "9.45e+12 J" in picture
