"""Writes tests/vectors/gristmill/protocol.json: what another implementation is held against.

    python -m tests.vectors.generate

Everything in it follows from fixed names and numbers, so two runs give the same bytes; a test holds
the committed file against the code.  docs/PROTOCOL.md, "Test vectors", says how to read it.
"""

import json
from pathlib import Path
from typing import Any

from tests.vectors import encodings, evidence, rules, sessions, signatures
from tests.vectors.plain import plain

PATH = Path(__file__).parent / "gristmill" / "protocol.json"


def vectors() -> dict[str, Any]:
    """All sections, ready for JSON."""
    sections = {
        "records": encodings.records(),
        "hashes": encodings.hashes(),
        "envelope": encodings.envelopes(),
        "ordering": encodings.ordering(),
        "genesis": encodings.genesis(),
        "member_texts": encodings.member_texts(),
        "federation_key": signatures.key(),
        "sessions": sessions.sessions(),
        "signatures": signatures.verification(),
        "beacon": signatures.beacon(),
        "commitments": encodings.commitments(),
        "sampling": rules.sampling(),
        "assignment": rules.assignments(),
        "data": rules.data(),
        "scores": rules.scores(),
        "lottery": rules.lotteries(),
        "certificates": signatures.certificates(),
        "contributions": signatures.contributions(),
        "evidence": evidence.evidence(),
        "finality": signatures.finality(),
        "log_leaves": encodings.leaves(),
    }
    return {name: plain(section) for name, section in sections.items()}


def text() -> str:
    """The file's content."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
