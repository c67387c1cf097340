"""Lines with their times as an animated SVG, in the way of asciinema: each appears when it came.

Pure.
"""

from collections.abc import Sequence
from html import escape

FONT, ROW, LEFT, TOP = 12, 17, 14, 44
COLUMNS = 112
CHARACTER = 7.25  # pixels of one, in a monospaced font of FONT
GAP_S_MAX = 1.5  # longer pauses are shortened; the times in the lines stay as they were
INK, DIM, PAPER, BAR = "#e6e9ee", "#8a94a2", "#14181f", "#262d38"
STYLE = (
    "text{font:%dpx ui-monospace,Menlo,Consolas,monospace;fill:%s;white-space:pre}"
    ".l{opacity:0;animation:s .01s linear forwards}@keyframes s{to{opacity:1}}"
    "@media (prefers-reduced-motion:reduce){.l{opacity:1;animation:none}}"
)


def animated(title: str, lines: Sequence[tuple[float, str]]) -> str:
    """An SVG of (seconds since the start, text) lines, ascending by time."""
    width = round(2 * LEFT + COLUMNS * CHARACTER)
    height = TOP + ROW * len(lines) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE % (FONT, INK)}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        f'<rect width="{width}" height="28" rx="8" fill="{BAR}"/>',
        f'<text x="{LEFT}" y="19" style="fill:{DIM}">{escape(title)}</text>',
    ]
    shown_s, before_s = 0.0, 0.0
    for place, (at_s, text) in enumerate(lines):
        shown_s += min(GAP_S_MAX, max(0.0, at_s - before_s))
        before_s = at_s
        cut = text if len(text) <= COLUMNS else text[: COLUMNS - 1] + "\u2026"
        parts.append(
            f'<text class="l" style="animation-delay:{shown_s:.2f}s" x="{LEFT}" '
            f'y="{TOP + ROW * (place + 0.6):.1f}">{escape(cut)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])
