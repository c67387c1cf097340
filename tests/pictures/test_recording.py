"""A recording: every line is in it, escaped, and appears after the one before."""

import re
import xml.etree.ElementTree as ElementTree

from tests.pictures.recording import COLUMNS, GAP_S_MAX, animated

LINES = [(0.0, "a < b & c"), (0.5, "x" * 300), (9.0, "late")]


def test_lines_appear_in_their_order_and_pauses_are_bounded() -> None:
    picture = animated("$ gristmill demo", LINES)
    texts = [each.text or "" for each in ElementTree.fromstring(picture).iter() if each.text]
    assert "a < b & c" in texts and "late" in texts
    assert max(map(len, (text for text in texts if text.startswith("x")))) == COLUMNS
    delays = [float(found) for found in re.findall(r"animation-delay:([0-9.]+)s", picture)]
    assert delays == [0.0, 0.5, 0.5 + GAP_S_MAX]
