"""Writes docs/RECORDS.md: every record that is signed, ordered or logged, field by field.

    python -m tests.vectors.record_page

It follows from the code; a test holds the committed page against it.  docs/PROTOCOL.md, section 1,
says how a record is encoded; tests/oracle reads the page and nothing else of ours.
"""

import ast
import inspect
import io
import tokenize
from enum import EnumMeta, IntEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta

from bft.codec import types
from bft.codec.canonical import Record
from bft.codec.envelope import Envelope
from bft.dkg.messages import Phase as CeremonyPhase
from bft.ordering.batch import Batch
from bft.ordering.proof import Commit, QuorumProof
from bft.ordering.request import Request
from chain.records.commands import Commands
from chain.records.contribution import StorageReceipt
from chain.records.federation import Genesis
from chain.records.membership import VoidReason
from chain.records.operations import (
    MEMBERSHIP_OPERATIONS,
    MINER_OPERATIONS,
    PUBLIC_OPERATIONS,
    REPLICA_OPERATIONS,
    Operation,
)
from chain.records.phase import Phase
from chain.records.receipt import ExecutionReceipt, RequestReceipt
from chain.records.score_log import CloseReason, Leaf, LogEntry, LogRecord
from chain.records.votes import Purpose

PATH = Path(__file__).resolve().parents[2] / "docs" / "RECORDS.md"

SECTIONS: dict[str, tuple[Any, ...]] = {
    "Founding": (Genesis,),
    "Envelopes, requests, batches, proofs": (
        *(Envelope, Request, Operation, Commands, Batch, Commit, QuorumProof),
        *(StorageReceipt, ExecutionReceipt, RequestReceipt),
    ),
    "Operations of anybody": PUBLIC_OPERATIONS,
    "Operations of miners": MINER_OPERATIONS,
    "Operations of replicas": REPLICA_OPERATIONS,
    "Operations for a change of members": MEMBERSHIP_OPERATIONS,
    "The score log": (LogEntry, Leaf, *get_args(LogRecord)),
}
ENUMS: tuple[type[IntEnum], ...] = (Phase, Purpose, CloseReason, VoidReason, CeremonyPhase)
WIDTHS = ("U8", "U16", "U32", "U63", "I32", "I64")
HEAD = """# Records

Written by `python -m tests.vectors.record_page` from the code; a test compares. Normative for
names, order and widths of fields. PROTOCOL.md says how a record is encoded (section 1) and what its
fields must satisfy.

`U8` to `U63` are integers from 0 to 2^8 - 1 and so on, `I32` and `I64` are signed. `bytes 32`
has that many bytes, `bytes 1..64` as many as these bounds allow. `list of X` is an array, with as
many places as the bounds in brackets allow; `one of N` is an integer of the last section. The tag
under a heading is what envelopes, operations and leaves name the record by. A record without a tag
only stands inside others.
"""


def shown(kind: Any) -> str:
    """A field's type in the page's words."""
    if get_origin(kind) is Annotated:
        inner, meta = get_args(kind)[0], get_args(kind)[1]
        for name in WIDTHS:
            if kind == getattr(types, name):
                return name
        return shown(inner) + _bounds(meta, inner)
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if parts[-1] is Ellipsis:
            return f"list of {shown(parts[0])}"
        return f"[{', '.join(shown(part) for part in parts)}]"
    if isinstance(kind, EnumMeta):
        return f"one of {_title(kind)}"
    if kind is bytes:
        return "bytes"
    if kind is int:
        return "integer"
    return str(kind.__name__)


def _bounds(meta: Meta, inner: Any) -> str:
    """` 32`, ` 1..64`; in a list ` (1..64)`."""
    low, high = meta.min_length, meta.max_length
    if high is None and low is None:
        return ""
    span = str(low) if low == high else f"{low or 0}..{'' if high is None else high}"
    return f" {span}" if inner is bytes else f" ({span})"


def _title(enum: type) -> str:
    return "Phase of a session" if enum is CeremonyPhase else enum.__name__


def comments(kind: type[Record]) -> dict[str, str]:
    """Field -> what its line says behind it."""
    source = inspect.getsource(kind)
    told = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    return {
        line.target.id: told.get(line.end_lineno or line.lineno, "")
        for line in tree.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def table(kind: type[Record]) -> list[str]:
    """One record's lines."""
    hints, told = get_type_hints(kind, include_extras=True), comments(kind)
    first = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    lines = [f"### {kind.__name__}", ""]
    if kind.TAG:
        lines += [f"`{kind.TAG}`", ""]
    lines += [first, "", "| field | type | |", "|---|---|---|"]
    for name in kind.__struct_fields__:
        note = told[name].replace("|", "\\|")
        lines.append(f"| {name} | {shown(hints[name])} | {note} |")
    return [*lines, ""]


def inside(kind: Any) -> list[type[Record]]:
    """Records that stand in a field of this type."""
    if get_origin(kind) in (Annotated, tuple):
        return [found for part in get_args(kind) for found in inside(part)]
    return [kind] if isinstance(kind, type) and issubclass(kind, Record) else []


def text() -> str:
    """The whole page."""
    lines, done = [HEAD], set()
    for title, kinds in SECTIONS.items():
        lines += [f"## {title}", ""]
        waiting = list(kinds)
        while waiting:
            kind = waiting.pop(0)
            if kind in done:
                continue
            done.add(kind)
            lines += table(kind)
            hints = get_type_hints(kind, include_extras=True)
            fields = kind.__struct_fields__
            waiting[:0] = [found for name in fields for found in inside(hints[name])]
    lines += ["## Numbers", ""]
    for enum in ENUMS:
        values = ", ".join(f"{member.value} {member.name}" for member in enum)
        lines += [f"**{_title(enum)}**: {values}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
