"""The simulator itself: it replays, it loses what it should lose, and its checkers see lies."""

from random import Random

import pytest

from bft.pbft.events import Persist, Prune, Send
from chain.records.score_log import Ordered
from coordinator.effects import Append, SaveState
from tests.sim.agenda import Agenda
from tests.sim.checkers import Broken
from tests.sim.disk import Disk
from tests.sim.faults import LyingScorer
from tests.sim.host import Host
from tests.sim.network import MILLION, Network, Weather
from tests.sim.scenarios import MINERS, SCENARIOS, run
from tests.sim.world import Stalled, World


def test_what_is_planned_happens_in_order_of_time_then_of_planning() -> None:
    agenda, said = Agenda(), list[str]()
    agenda.after(5, lambda: said.append("late"))
    agenda.after(0, lambda: said.append("first"))
    agenda.after(0, lambda: said.append("second"))
    while agenda.advance():
        pass
    assert (said, agenda.now) == (["first", "second", "late"], 5)


def arrivals(weather: Weather, sides: tuple[tuple[int, ...], ...] = ()) -> list[int]:
    """When each of 100 frames from 0 to 1, sent at once, arrives."""
    agenda, found = Agenda(), list[int]()
    network = Network(agenda, Random(1), weather)
    if sides:
        network.split(*sides)
    for _ in range(100):
        network.carry(0, 1, lambda: found.append(agenda.now))
    while agenda.advance():
        pass
    return found


def test_a_network_delays_loses_and_doubles_as_the_weather_says() -> None:
    fair = arrivals(Weather(delay_ms_min=3, delay_ms_max=9))
    assert len(fair) == 100 and set(fair) == set(range(3, 10))
    assert arrivals(Weather(loss_ppm=MILLION)) == []
    assert len(arrivals(Weather(duplicate_ppm=MILLION))) == 200
    assert 20 < len(arrivals(Weather(loss_ppm=MILLION // 2))) < 80


def test_frames_cross_no_split() -> None:
    assert arrivals(Weather(), ((0, 1), (2, 3)))
    assert not arrivals(Weather(), ((0, 2), (1, 3)))
    assert not arrivals(Weather(), ((0,),))


def batch(sequence: int) -> Append:
    ordered = Ordered(sequence=sequence, agreed_ms=0, batch=b"")
    return Append(
        sequence=sequence, batch=b"", proof=b"", first_index=sequence - 1, records=(ordered,)
    )


def test_a_crash_loses_what_was_not_synced_and_nothing_else() -> None:
    disk = Disk()
    disk.write([Persist(1, b"a"), Persist(2, b"b"), batch(1), SaveState(1, b"state")])
    disk.sync()
    disk.write([Persist(3, b"c"), batch(2), Prune(1)])
    disk.crash()
    assert disk.recovered().records == ((1, b"a"), (2, b"b"))
    assert (disk.recovered().executed, disk.saved(), disk.tail()) == (1, b"state", ())
    disk.write([Persist(3, b"c"), Prune(2), batch(2)])
    disk.sync()
    assert disk.recovered().records == ((3, b"c"),)
    assert disk.tail() == ((2, b""),)
    assert len(disk.log()) == 2


def test_a_run_that_cannot_go_on_says_where_everybody_stands() -> None:
    world = World(1100)
    for host in world.hosts[:2]:
        host.crash()
    with pytest.raises(Stalled, match=r"0 down .* KEYGEN"):
        world.run_cycles(1, limit_ms=5_000)


class Dreamer(Host):
    """Counts as correct, and believes in another state from batch 10 on."""

    def fingerprint(self) -> bytes:
        true = super().fingerprint()
        return bytes(32) if self.replica.state.sequence >= 10 else true


def test_two_states_at_one_sequence_do_not_go_unseen() -> None:
    with pytest.raises(Broken, match="two states at sequence 10"):
        World(1101, kinds={2: Dreamer}).run_cycles(1)


class Forgetful(Host):
    """Counts as correct, and starts from an empty disk each time."""

    def crash(self) -> None:
        super().crash()
        self.disk = Disk()


def test_a_replica_that_forgets_its_votes_does_not_go_unseen() -> None:
    """It votes anew in places where it had voted, for something else if it is the primary."""
    world = World(1102, kinds={0: Forgetful})
    world.run_until(lambda: world.state.sequence >= 6, 20_000)
    world.hosts[0].crash()
    world.hosts[0].start()
    with pytest.raises(Broken, match="replica 0"):
        world.run_cycles(2)


def test_what_is_sent_before_it_is_durable_does_not_go_unseen() -> None:
    world = World(1103)
    host = world.hosts[0]
    with pytest.raises(Broken, match="rests on record 9"):
        world.checkers.handed_out(host, Send(to=None, message=b"", after_lsn=9))


def test_a_liar_among_the_correct_is_found_by_the_audit() -> None:
    """Counted as correct, its table still convicts it in the log."""
    world = World(1104, kinds={3: LyingScorer})
    world.run_cycles(1)
    assert {finding.replicas for finding in world.verdict().accusations} == {(3,)}


def test_every_seed_has_its_own_history() -> None:
    traces = {run("none", seed, cycles=1).trace.digest() for seed in (1, 2)}
    assert len(traces) == 2
    assert run("none", 1, cycles=1).trace.digest() in traces


@pytest.mark.parametrize("fault", sorted(SCENARIOS))
def test_each_named_scenario_runs(fault: str) -> None:
    """One seed each; `python -m tests.sim --fault NAME --count N` runs as many as you like."""
    assert set(MINERS) <= set(SCENARIOS)
    assert run(fault, 7, cycles=1).closed >= 1
