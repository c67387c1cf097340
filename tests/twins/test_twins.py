"""A slice of the twins' worlds, and what the enumeration promises."""

from tests.twins.scenario import PARTITIONS, WORLDS, N, Scenario, Twins

SLICE = 60


def test_twins_in_small_worlds_fork_nobody_and_have_nobody_accused() -> None:
    """Scenarios 1 to 3 and 22 in all their variants; signatures are real here."""
    ran = 0
    for number in range(0, 10_000):
        if not Scenario(number).mirrored():
            ran += 1
            Twins(number).run()
        if ran == SLICE:
            break


def test_a_number_names_a_world_and_every_world_has_a_number() -> None:
    assert len(PARTITIONS) == len(set(PARTITIONS)) == 41  # S(5,1) + S(5,2) + S(5,3)
    seen = {(s.twin, tuple(s.rounds)) for s in map(Scenario, range(5_000))}
    assert len(seen) == 5_000
    assert Scenario(WORLDS).rounds == Scenario(0).rounds


def test_of_two_mirrored_worlds_at_most_one_is_passed_over() -> None:
    """Swapping the twins twice gives the world itself."""
    for number in range(500):
        scenario = Scenario(number)
        swapped = [scenario._swapped(p) for p, _ in scenario.rounds]
        assert [scenario._swapped(p) for p in swapped] == [p for p, _ in scenario.rounds]
        twin = Scenario(number)
        twin.rounds = [(p, cut) for p, (_, cut) in zip(swapped, scenario.rounds, strict=True)]
        assert not (scenario.mirrored() and twin.mirrored())


def test_worlds_do_happen() -> None:
    """In many of them something is decided, views change, and the twins give themselves away."""
    worlds = [Twins(n) for n in range(120) if not Scenario(n).mirrored()]
    for world in worlds:
        world.run()
    assert sum(len(w.machines[(w.twin + 1) % N].decided) > 1 for w in worlds) > 5
    assert sum(any(m.accused for m in w.machines) for w in worlds) > 5
    assert sum(w.machines[0].replica.view > 1 for w in worlds) > 5
