"""Which beacon rounds a cycle uses.

Pure.
"""


def challenge_round(cycle: int) -> int:
    """The round that chooses cycle `cycle`'s held-out batch, after the updates were revealed."""
    return 2 * cycle


def draw_round(cycle: int) -> int:
    """The round that draws cycle `cycle`'s winner, after its scores were fixed."""
    return 2 * cycle + 1
