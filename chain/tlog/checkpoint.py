"""Checkpoints of the score log: so many entries, this root, and who signs for it.

Source: C2SP tlog-checkpoint (the text), tlog-cosignature (a cosigner's line), signed-note.
Three kinds of lines stand under a checkpoint.  The publisher's log key only says who published.
Replicas' cosignatures make it the federation's: a strong quorum of members holds this root.  And
where the size is that of a certificate, the certificate itself is a line of the federation key.
Pure.
"""

import base64
from dataclasses import dataclass

from bft.errors import BadSignature, DecodeError, Refused
from chain.records.certificate import CERTIFICATE_BYTES
from chain.tlog.note import CERTIFICATE, COSIGNATURE_V1, Line, Note, Signer, Verifier
from chain.validation import verify_certificate

TIME_BYTES = 8
ROOT_BYTES = 32
SIZE_DIGITS_MAX = 19
SIZE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The text of a checkpoint."""

    origin: str
    size: int  # entries
    root: bytes  # 32 bytes

    def encode(self) -> str:
        """Three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def log_origin(chain_id: bytes) -> str:
    """The name of a chain's score log."""
    return f"gristmill/{chain_id.hex()}"


def decode_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text.

    Raises:
        DecodeError: malformed; extension lines are refused, none of ours has any.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise DecodeError(f"a checkpoint has three lines; {text[:80]!r} came")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit() and len(size) <= SIZE_DIGITS_MAX):
        raise DecodeError(f"{size[:40]!r} is no size of a log")
    try:
        found = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    except ValueError:
        raise DecodeError(f"{root[:80]!r} is no root") from None
    if found.encode() != text or len(found.root) != ROOT_BYTES or found.size > SIZE_MAX:
        raise DecodeError(f"{text[:120]!r} is not how a checkpoint is written")
    return found


def sign(checkpoint: Checkpoint, signer: Signer) -> Line:
    """The publisher's line."""
    signature = signer.sign(checkpoint.encode().encode())
    return Line(signer.name, signer.verifier.key_id, signature)


def cosign(checkpoint: Checkpoint, signer: Signer, time_s: int) -> Line:
    """A cosigner's line: at `time_s` (Unix) the log was this and nothing else so far."""
    signature = signer.sign(_cosigned(checkpoint, time_s))
    blob = time_s.to_bytes(TIME_BYTES, "big") + signature
    return Line(signer.name, signer.verifier.key_id, blob)


def verify_line(checkpoint: Checkpoint, line: Line, verifier: Verifier) -> int | None:
    """When a cosigner signed (Unix seconds); None under a log key, which says no time.

    Raises:
        BadSignature: the line is not by this key over this checkpoint.
    """
    if not verifier.signed(line):
        raise BadSignature(f"the line is of {line.name}, not of {verifier.name}")
    if verifier.kind != COSIGNATURE_V1:
        verifier.verify(line.signature, checkpoint.encode().encode())
        return None
    time_s = int.from_bytes(line.signature[:TIME_BYTES], "big")
    verifier.verify(line.signature[TIME_BYTES:], _cosigned(checkpoint, time_s))
    return time_s


def _cosigned(checkpoint: Checkpoint, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{checkpoint.encode()}".encode()


def federation_verifier(origin: str, key: bytes) -> Verifier:
    """The federation key (96 bytes), as the one whose certificates stand under checkpoints."""
    return Verifier(origin, CERTIFICATE, key)


def certificate_line(origin: str, key: bytes, certificate: bytes) -> Line:
    """A certificate, signature and all, as a line under the checkpoint that it names."""
    return Line(origin, federation_verifier(origin, key).key_id, certificate)


def verify_certificate_line(
    checkpoint: Checkpoint, line: Line, key: bytes, chain_id: bytes
) -> None:
    """Returns if the federation certified this size and root.  Raises BadSignature."""
    if len(line.signature) != CERTIFICATE_BYTES:
        raise BadSignature(f"the federation's line holds no certificate of {CERTIFICATE_BYTES}")
    try:
        certificate = verify_certificate(line.signature, key, chain_id)
    except (DecodeError, Refused) as error:
        raise BadSignature(f"the federation's line: {error}") from None
    if (certificate.log_size, certificate.log_root) != (checkpoint.size, checkpoint.root):
        raise BadSignature(
            f"the federation's line certifies {certificate.log_size} entries with root "
            f"{certificate.log_root.hex()[:16]}, not these"
        )


def note_of(checkpoint: Checkpoint, *lines: Line) -> Note:
    """The signed note."""
    return Note(checkpoint.encode(), lines)
