"""The blocks that this miner made: one for a certificate, whatever happens in between.

Two blocks for one certificate would be evidence against their winner, so a block is on disk before
anybody sees it, and is offered again as it is.
"""

from pathlib import Path

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.records.block import decode_block
from miner.files import write_durably

BLOCKS_KEPT_MAX = 16


class MadeBlocks:
    """In a miner's home."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "blocks"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def _path(self, certificate: bytes) -> Path:
        return self._directory / f"{sha256(certificate).hex()}.block"

    def find(self, certificate: bytes) -> bytes | None:
        """The block that was made with this certificate.  Raises DecodeError: it is damaged."""
        path = self._path(certificate)
        if not path.exists():
            return None
        data = path.read_bytes()
        try:
            held = decode_block(data).coinbase.certificate
        except DecodeError as error:
            raise DecodeError(
                f"{path} is damaged, and no second block may be made: {error}"
            ) from None
        if held != certificate:
            raise DecodeError(f"{path} is a block of another certificate")
        return data

    def keep(self, certificate: bytes, block: bytes) -> None:
        """Durable on return; the oldest ones go."""
        write_durably(self._path(certificate), block, mode=0o600)
        made = sorted(self._directory.glob("*.block"), key=lambda path: path.stat().st_mtime_ns)
        for old in made[:-BLOCKS_KEPT_MAX]:
            old.unlink(missing_ok=True)
