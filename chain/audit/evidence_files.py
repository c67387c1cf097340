"""Bundles of evidence as files, one an accusation.

Edge: writes files.
"""

from collections.abc import Sequence
from pathlib import Path

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.audit.evidence import EvidenceKeeper
from chain.audit.findings import Finding

BUNDLES_MAX = 1_000


class EvidenceFiles:
    """A directory of them."""

    def __init__(self, path: Path, genesis: bytes) -> None:
        self.keeper = EvidenceKeeper(genesis)
        self.written: list[Path] = []
        self._path = path
        self._done = 0  # accusations that were looked at

    def write(self, accusations: Sequence[Finding], before: int) -> None:
        """Those of cycles before `before` that were not written yet.  Raises ConfigError."""
        while self._done < len(accusations) and len(self.written) < BUNDLES_MAX:
            finding = accusations[self._done]
            if finding.cycle >= before:
                return
            self._done += 1
            evidence = self.keeper.evidence(finding)
            if evidence is not None:
                (replica,) = finding.replicas
                name = f"{finding.rule}-entry-{finding.entry}-replica-{replica}.grist"
                self._write(self._path / name, encode(evidence))

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise ConfigError(f"--evidence {path}: {error.strerror}") from None
        self.written.append(path)
