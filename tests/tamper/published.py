"""The log as replicas publish it in files, and `gristmill audit` on a directory of them.

Two kinds of bytes here say nothing to an audit, by rule: a line in the checkpoint under a key that
is not counted (C2SP signed-note: unknown signatures are passed over; the publisher's is one, since
a strong quorum's cosignatures are asked for), and the key file of a replica that did not cosign.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

from bft.errors import DecodeError
from chain.tlog.keys import cosigner_name
from chain.tlog.note import decode_note
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.test_mirror import published
from tests.chain.tlog.publishing import mill
from tests.tamper.subject import Missed, Subject

COSIGNERS = (0, 1, 2)
REFUSALS = (exits.CONFIG, exits.VERIFICATION_FAILED, exits.UNAVAILABLE)


class Files:
    """A directory with a published log; one byte of one file changes at a time."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        self.path = Path(self._home.name)
        published(self.path, COSIGNERS)
        made = mill()
        self._chain_id = made.genesis.chain_id
        keys = [replica.public_key for replica in made.replicas]
        self._counted = {cosigner_name(self._chain_id, keys[index]) for index in COSIGNERS}
        self._idle = {f"keys/{key.hex()}" for n, key in enumerate(keys) if n not in COSIGNERS}
        status, said = self.audit()
        assert status == exits.OK, said
        self._verdict = self._facts(said)

    def audit(self) -> tuple[int, str]:
        """(exit status, JSON report) of the command."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            status = main(["audit", str(self.path), "--chain-id", self._chain_id.hex(), "--json"])
        return status, said.getvalue()

    def subject(self, name: str) -> Subject:
        """One file."""
        data = (self.path / name).read_bytes()

        def judge(changed: bytes) -> str:
            (self.path / name).write_bytes(changed)
            try:
                status, said = self.audit()
            finally:
                (self.path / name).write_bytes(data)
            if status in REFUSALS:
                return f"gristmill audit: {self._rule(said)}"
            if status != exits.OK or self._facts(said) != self._verdict:
                raise Missed(f"status {status}: {said[:300]}")
            return f"does not matter: {self._reason(name, data, changed)}"

        return Subject(name=f"published {name.split('/')[0]}", data=data, judge=judge)

    @staticmethod
    def _rule(said: str) -> str:
        told = json.loads(said)
        if not told["ok"] and "error" in told:
            return "refused at once"
        broken = [each for each in told["data"]["findings"] if each["severity"] == "broken"]
        return str(broken[0]["rule"])

    @staticmethod
    def _facts(said: str) -> tuple[object, ...]:
        """What an auditor learns: it must be the same whatever does not matter."""
        told = json.loads(said)["data"]
        cosigners = [each["cosigners"] for each in told["checkpoints"]]
        return told["entries"], told["log_root"], told["findings"], told["cycles"], cosigners

    def _reason(self, name: str, data: bytes, changed: bytes) -> str:
        """By which rule.  Raises Missed: by none."""
        if name in self._idle:
            return "a replica that did not cosign"
        if name == "checkpoint":
            with contextlib.suppress(DecodeError):
                before, after = decode_note(data), decode_note(changed)
                lines = set(before.lines) - set(after.lines)
                if after.text == before.text and not {line.name for line in lines} & self._counted:
                    return "a line under a key that is not counted"
        raise Missed("the audit passes")


def files() -> list[Subject]:
    """All of them."""
    found = Files()
    paths = sorted(each for each in found.path.rglob("*") if each.is_file())
    names = [str(path.relative_to(found.path)) for path in paths]
    return [found.subject(name) for name in names]
