"""Signed notes: a text, and lines of signatures under it, each by a named key.

Source: C2SP signed-note.  Signatures under unknown keys are kept and mean nothing.
Pure.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bft.crypto.hashing import sha256
from bft.errors import BadSignature, DecodeError

ED25519 = b"\x01"
"""Signature type of a log's own key."""
COSIGNATURE_V1 = b"\x04"
"""Signature type of a cosigner's Ed25519 key; Source: C2SP tlog-cosignature."""
CERTIFICATE = b"\xffgristmill.certificate/1"
"""Signature type of the federation key; see chain/tlog/checkpoint.py."""

KEY_ID_BYTES = 4
NOTE_BYTES_MAX = 1_000_000
LINES_MAX = 512  # every member of two epochs and many witnesses
NAME_BYTES_MAX = 255
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True)
class Line:
    """One signature under a note."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes

    def encode(self) -> str:
        """With its newline."""
        blob = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_DASH}{self.name} {blob}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and the signatures that somebody put under it."""

    text: str
    lines: tuple[Line, ...]

    def encode(self) -> bytes:
        """The whole note."""
        return (self.text + "\n" + "".join(line.encode() for line in self.lines)).encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name, of one signature type."""

    name: str
    kind: bytes  # signature type
    key: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes."""
        return sha256(self.name.encode() + b"\n" + self.kind + self.key)[:KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The verifier key as text: name, id, type and key."""
        blob = base64.b64encode(self.kind + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{blob}"

    def signed(self, line: Line) -> bool:
        """Whether the line claims to be this key's."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Returns if the Ed25519 signature stands.  Raises BadSignature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise BadSignature(f"the signature is not by {self.name} over this text") from None


@dataclass(frozen=True, slots=True)
class Signer:
    """An Ed25519 key under its name."""

    name: str
    kind: bytes
    secret: bytes  # 32 bytes

    def __repr__(self) -> str:
        return f"Signer({self.verifier.vkey})"

    @property
    def verifier(self) -> Verifier:
        """The public side."""
        public = Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()
        return Verifier(self.name, self.kind, public)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(message)


def decode_vkey(text: str) -> Verifier:
    """The verifier key in its text.  Raises DecodeError: malformed, or its id is another's."""
    name, _, rest = text.partition("+")
    key_id, _, blob = rest.partition("+")
    raw = _unbase64(blob)
    if not is_name(name) or raw[:1] not in (ED25519, COSIGNATURE_V1) or len(raw) != 33:
        raise DecodeError(f"{text[:80]!r} is no Ed25519 verifier key")
    found = Verifier(name, raw[:1], raw[1:])
    if found.key_id.hex() != key_id:
        raise DecodeError(f"{text[:80]!r}: the key has id {found.key_id.hex()}")
    return found


def is_name(name: str) -> bool:
    """Whether a key may be called so: no space, no plus, no control character."""
    fine = all(char > " " and char != "+" and not char.isspace() for char in name)
    return fine and 0 < len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX


def decode_note(data: bytes) -> Note:
    """The note in these bytes, nothing verified.  Raises DecodeError."""
    if len(data) > NOTE_BYTES_MAX:
        raise DecodeError(f"a note has {NOTE_BYTES_MAX} bytes at most; {len(data)} came")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("a note is UTF-8") from None
    if any(char < " " and char != "\n" for char in whole):
        raise DecodeError("a note has no control characters")
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise DecodeError("a note is a text, an empty line, and lines of signatures")
    return Note(text + "\n", decode_lines(signatures))


def decode_lines(text: str) -> tuple[Line, ...]:
    """Signature lines, each with its newline.  Raises DecodeError."""
    rows = text.removesuffix("\n").split("\n")
    if len(rows) > LINES_MAX:
        raise DecodeError(f"{len(rows)} signatures came; {LINES_MAX} at most")
    return tuple(_decode_line(row) for row in rows)


def merged(lines: Sequence[Line], more: Sequence[Line]) -> tuple[Line, ...]:
    """Both, each key's first line only."""
    found = {(line.name, line.key_id): line for line in reversed((*lines, *more))}
    return tuple(found[key] for key in dict.fromkeys((n.name, n.key_id) for n in (*lines, *more)))


def _decode_line(row: str) -> Line:
    name, space, blob = row.removeprefix(_DASH).partition(" ")
    if not row.startswith(_DASH) or not space or not is_name(name):
        raise DecodeError(f"{row[:80]!r} is no signature line")
    raw = _unbase64(blob)
    if len(raw) <= KEY_ID_BYTES:
        raise DecodeError(f"{row[:80]!r} holds no signature")
    return Line(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def _unbase64(text: str) -> bytes:
    """Raises DecodeError: not the one encoding that the bytes have."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise DecodeError(f"{text[:80]!r} is no canonical base64")
    return raw
