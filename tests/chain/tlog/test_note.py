"""Signed notes: the one encoding, keys and their ids, and what is no note."""

import base64
import json
from pathlib import Path

import pytest

from bft.errors import BadSignature, DecodeError
from chain.tlog.note import (
    ED25519,
    NOTE_BYTES_MAX,
    Line,
    Note,
    Signer,
    Verifier,
    decode_note,
    decode_vkey,
    merged,
)

# Source: C2SP's signed-note.md and the documentation of Go's golang.org/x/mod/sumdb/note.
VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors/c2sp/signed-note-vectors.json").read_text()
)
GO_VKEY = VECTORS["go_mod_note_doc"]["vkey"]


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_a_note_that_others_signed_verifies(name: str) -> None:
    vkey, data = VECTORS[name]["vkey"], VECTORS[name]["note"].encode()
    note, verifier = decode_note(data), decode_vkey(vkey)
    (line,) = note.lines
    assert verifier.signed(line)
    verifier.verify(line.signature, note.text.encode())
    with pytest.raises(BadSignature):
        verifier.verify(line.signature, note.text.upper().encode())
    assert note.encode() == data
    assert verifier.vkey == vkey


def test_what_we_sign_verifies_under_the_vkey_that_we_tell() -> None:
    signer = Signer("gristmill/test", ED25519, bytes(range(32)))
    verifier = decode_vkey(signer.verifier.vkey)
    verifier.verify(signer.sign(b"text\n"), b"text\n")
    assert "secret" not in repr(signer) and bytes(range(32)).hex() not in repr(signer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash AAAAAAA=\n",
        "text\n\n— name AAAA\n".encode(),  # a key id and no signature
        "text\n\n— name AAAAAAB=\n".encode(),  # not canonical
        "text\n\n— name\n".encode(),
        "text\n\n— na+me AAAAAAA=\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        "te\x01xt\n\n— name AAAAAAA=\n".encode(),
        b"\xff\n\n",
        b"a" * (NOTE_BYTES_MAX + 1),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GO_VKEY[:-4],
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("Peter", "Pe ter"),
        Verifier("name", b"\x06", bytes(32)).vkey,
    ],
)
def test_what_is_no_vkey_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_vkey(text)


def test_lines_of_two_notes_are_merged_with_each_key_once() -> None:
    def line(name: str, text: bytes) -> Line:
        return Line(name, base64.b64decode("AAAAAA=="), text)

    both = merged([line("a", b"1"), line("b", b"1")], [line("b", b"2"), line("c", b"2")])
    assert [(each.name, each.signature) for each in both] == [("a", b"1"), ("b", b"1"), ("c", b"2")]
    assert decode_note(Note("t\n", both).encode()).lines == both
