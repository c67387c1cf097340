"""The report as a picture: joules per block on a logarithmic scale, beside Bitcoin's.  Pure."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

from chain.energy.report import BITCOIN_JOULES_PER_BLOCK, BITCOIN_SOURCE, MILLI, CycleEnergy

WIDTH, LEFT, RIGHT, TOP = 760, 150, 90, 56
ROW, BAR, FOOT = 34, 20, 64
CYCLES_SHOWN = 10
INK, DIM, OURS, THEIRS, LINE = "#1c2430", "#56606e", "#0b5a8f", "#a85a12", "#d5dae1"


def bars(cycles: Sequence[CycleEnergy], told: dict[str, Any]) -> list[tuple[str, float, str]]:
    """(name, joules, colour) of each bar."""
    newest = [each for each in cycles if each.height is not None and each.total_mj]
    found = [
        (f"block {each.height}", each.total_mj / MILLI, OURS) for each in newest[-CYCLES_SHOWN:]
    ]
    if told["joules_per_block"]:
        found.append(("mean of ours", told["joules_per_block"], OURS))
    found.append(("one of Bitcoin's", float(BITCOIN_JOULES_PER_BLOCK), THEIRS))
    return found


def plot(cycles: Sequence[CycleEnergy], told: dict[str, Any]) -> str:
    """An SVG that needs nothing beside it."""
    rows = bars(cycles, told)
    low = floor(min(log10(value) for _, value, _ in rows)) - 1
    high = ceil(max(log10(value) for _, value, _ in rows))
    height = TOP + ROW * len(rows) + FOOT

    def x(exponent: float) -> float:
        return round(LEFT + (exponent - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Joules per block, ours and Bitcoin\'s, on a logarithmic scale" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="17" font-weight="700" fill="{INK}">'
        "Energy of one block, joules (each step is ten times the one before)</text>",
    ]
    for exponent in range(low, high + 1, 1 if high - low <= 12 else 2):
        parts.append(
            f'<line x1="{x(exponent)}" x2="{x(exponent)}" y1="{TOP - 6}" y2="{bottom}" '
            f'stroke="{LINE}"/><text x="{x(exponent)}" y="{bottom + 16}" text-anchor="middle" '
            f'fill="{DIM}">1e{exponent}</text>'
        )
    for place, (name, value, colour) in enumerate(rows):
        y, end = TOP + ROW * place, x(log10(value))
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end" fill="{INK}">{escape(name)}'
            f'</text><rect x="{LEFT}" y="{y}" width="{round(end - LEFT, 1)}" height="{BAR}" '
            f'fill="{colour}"/><text x="{end + 6}" y="{y + 15}" fill="{INK}">{value:.3g} J</text>'
        )
    notes = (f"Bitcoin: {BITCOIN_SOURCE}.", _note(told))
    for place, note in enumerate(notes):
        parts.append(
            f'<text x="16" y="{bottom + 38 + 16 * place}" font-size="11" fill="{DIM}">'
            f"{escape(note)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _note(told: dict[str, Any]) -> str:
    return (
        f"Ours: cycles {told['first_cycle']} to {told['last_cycle']}, miners and "
        f"{told['replicas_told']} replicas; {100 * told['estimated_part']:.0f} % is CPU time times "
        "an assumed power."
    )
