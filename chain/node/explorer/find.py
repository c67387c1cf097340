"""From what somebody typed to the page that shows it."""

import re

from bft.errors import DecodeError, Refused
from chain.bitcoin.address import GRISTMILL, decode_address
from chain.node.core import NodeCore
from chain.node.history import header_of_cycle
from chain.node.store import HEIGHT_DIGITS_MAX

SHOWN_MAX = 90  # characters of a question in its answer
_CYCLE = re.compile(rf"cycle[ :]*([0-9]{{1,{HEIGHT_DIGITS_MAX}}})", re.ASCII)
_HEIGHT = re.compile(rf"[0-9]{{1,{HEIGHT_DIGITS_MAX}}}", re.ASCII)


def find(core: NodeCore, question: str) -> str:
    """The path of a page.  Raises Refused: nothing here is known by `question`."""
    text = question.lower()
    cycle = _CYCLE.fullmatch(text)
    if cycle is not None:
        return _of_cycle(core, int(cycle[1]))
    if _HEIGHT.fullmatch(text) and 1 <= int(text) <= core.tree.tip.height:
        return f"/blocks/{int(text)}"
    data = _hex(text)
    if len(data) == 33:
        return f"/miners/{data.hex()}"  # not as typed: fromhex lets spaces and line ends pass
    if len(data) == 32:
        block = data[::-1]
        known = core.store.header_of(block) is not None or core.store.block(block) is not None
        return f"/blocks/{data.hex()}" if known else f"/transactions/{data.hex()}"
    try:
        decode_address(question, GRISTMILL)
    except DecodeError:
        raise Refused("not-found", _nothing(question)) from None
    return f"/addresses/{question}"


def _of_cycle(core: NodeCore, cycle: int) -> str:
    found = header_of_cycle(core, cycle)
    if found is None:
        raise Refused("not-found", f"No block of cycle {cycle} is in this chain.")
    return f"/blocks/{found.certificate.height}"


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _nothing(question: str) -> str:
    return (
        f"Nothing is known by {question[:SHOWN_MAX]!r}. A height, a cycle (cycle 7), a block's "
        "hash or a transaction's id (64 hex digits), a miner's key (66) or an address can be "
        "searched for."
    )
