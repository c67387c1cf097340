"""A line through numbers, as coordinates for an SVG: drawn by the server, so it needs no script.

Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
TICKS = 4


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float  # pixels
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One line with its axes."""

    line: str  # points attribute of an SVG polyline
    dots: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def line_chart(points: Sequence[tuple[int, float]]) -> Chart | None:
    """(number, value) pairs, ascending by number; None when there are fewer than two."""
    if len(points) < 2:
        return None
    first, last = points[0][0], points[-1][0]
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        low, high = low - 0.5, high + 0.5
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(number: float) -> float:
        return round(LEFT + (number - first) / (last - first) * width, 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * height, 1)

    placed = tuple((x(number), y(value)) for number, value in points)
    numbers = sorted({first + round(step * (last - first) / TICKS) for step in range(TICKS + 1)})
    values = [low + step * (high - low) / TICKS for step in range(TICKS + 1)]
    return Chart(
        line=" ".join(f"{across},{up}" for across, up in placed),
        dots=placed,
        across=tuple(Tick(x(number), str(number)) for number in numbers),
        up=tuple(Tick(y(value), f"{value:.3g}") for value in values),
    )
