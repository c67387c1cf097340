"""A whole score log by docs/PROTOCOL.md: proofs, requests, what follows, what was signed."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.oracle.members import Mill
from tests.oracle.primitives import all_signed, opened, pre_image, signed_by, strong, tagged
from tests.oracle.records import Malformed, decode, encode, layouts, name_of
from tests.oracle.state import Refused

CSEQ_WINDOW = 64
CLIENTS_MAX = 10_000
ACCEPTED, MALFORMED = "accepted", "malformed"
LOG, OPERATIONS = (
    ("The score log",),
    (
        *("Operations of anybody", "Operations of miners", "Operations of replicas"),
        "Operations for a change of members",
    ),
)
EVIDENCE = b"\x92\xc4\x19gristmill.show-evidence/1"
"""How an operation of that tag begins."""
Fields = dict[str, Any]


class Differs(AssertionError):
    """The log says something else than follows from it."""


def check(holds: bool, entry: int, text: str) -> None:
    """Raises Differs."""
    if not holds:
        raise Differs(f"entry {entry}: {text}")


def named(tag: bytes, sections: Sequence[str]) -> str | None:
    """The record with this tag in these sections of RECORDS.md."""
    return next((name for each in sections if (name := name_of(tag, each)) is not None), None)


class Clients:
    """Section 4: which requests were executed."""

    def __init__(self) -> None:
        self._done: dict[bytes, list[int]] = {}  # client -> numbers, in order of last marks

    def fresh(self, client: bytes, number: int) -> bool:
        """Whether it may be executed."""
        done = self._done.get(client, [])
        if not done or number > max(done):
            return True
        return number > max(done) - CSEQ_WINDOW and number not in done

    def mark(self, client: bytes, number: int) -> None:
        """It was."""
        done = [*self._done.pop(client, []), number]
        self._done[client] = [each for each in done if each > max(done) - CSEQ_WINDOW]
        if len(self._done) > CLIENTS_MAX:
            del self._done[next(iter(self._done))]


class Replay:
    """The fold over a log; `mill` is what came of it."""

    def __init__(self, genesis: bytes, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """`entries`: (leaf, proof).  Raises Differs."""
        self.entries = entries
        self.mill = Mill(genesis, self._claims())
        self.clients = Clients()
        self.outcomes: list[list[str]] = []  # of each request, in order: one word an operation
        self._walk()
        record = self.mill.newest_record
        if record is not None:  # section 5: one key has signed everything, and never changes
            key = record["commitments"][0]
            check(all_signed(key, tuple(self.mill.used)), len(entries), "a signature is forged")

    def _claims(self) -> frozenset[bytes]:
        """Signatures that stand in derived leaves."""
        found = set()
        for data, _ in self.entries:
            with suppress(Malformed):  # the walk says where
                name, record = _read(data)
                if name != "Ordered":
                    found.add(record.get("signature", b""))
                    found.add(record.get("certificate", b"")[323:])
                    found.add(record.get("federation_key", {}).get("activation", b""))
        return frozenset(found)

    def _walk(self) -> None:
        mill = self.mill
        for index, (leaf, proof) in enumerate(self.entries):
            if mill.due:
                name, fields = mill.due.pop(0)
                expected = encode("Leaf", _leaf(name, fields))
                check(leaf == expected, index, f"{name} {fields} follows")
                check(not proof, index, "a proof where none belongs")
                continue
            try:
                name, ordered = _read(leaf)
                check(name == "Ordered", index, f"a batch follows, not {name}")
                self._batch(index, ordered, proof)
            except Malformed as error:
                raise Differs(f"entry {index}: {error}") from None
        check(not mill.due, len(self.entries), "the log ends too early")

    def _batch(self, index: int, ordered: Fields, proof: bytes) -> None:
        mill = self.mill
        check(ordered["sequence"] == mill.sequence + 1, index, "a batch is left out")
        mill.sequence += 1
        self._check_proof(index, ordered, proof)
        batch = decode("Batch", ordered["batch"])
        mill.agreed_ms = max(mill.agreed_ms, batch["timestamp_ms"])
        check(ordered["agreed_ms"] == mill.agreed_ms, index, "another agreed time follows")
        mill.push("Ordered", ordered)
        for sealed in batch["requests"]:
            signer, request = opened(sealed, "bft.request/1", "Request")
            check(signer == request["client"], index, "signed by another client")
            check(request["chain_id"] == mill.chain, index, "a request for another chain")
            self._execute(request)
        mill.end_batch()

    def _check_proof(self, index: int, ordered: Fields, proof: bytes) -> None:
        made, mill = decode("QuorumProof", proof), self.mill
        replicas = [each["replica"] for each in made["signatures"]]
        ascending = sorted(set(replicas))
        check(replicas == ascending and len(replicas) == strong(mill.n), index, "no quorum")
        for each in made["signatures"]:
            commit = {
                "chain_id": mill.chain,
                "epoch": mill.epoch,
                "view": made["view"],
                "sequence": ordered["sequence"],
                "digest": tagged("bft.batch/1", ordered["batch"]),
                "replica": each["replica"],
            }
            check(each["replica"] < mill.n, index, "no member")
            message = pre_image("pbft.commit/1", encode("Commit", commit))
            key = mill.keys[each["replica"]]
            check(signed_by(key, each["signature"], message), index, "a forged proof")

    def _execute(self, request: Fields) -> None:
        client, number = request["client"], request["cseq"]
        if not self.clients.fresh(client, number):
            self.outcomes.append(["executed-before"])
            return
        try:
            operations = _split(request["operation"])
        except Malformed:
            self.outcomes.append([MALFORMED])
            return
        self.outcomes.append([self._operate(client, operation) for operation in operations])
        if ACCEPTED in self.outcomes[-1]:
            self.clients.mark(client, number)

    def _operate(self, client: bytes, data: bytes) -> str:
        try:
            operation = decode("Operation", data)
            name = named(operation["tag"], OPERATIONS)
            if name is None:
                return MALFORMED
            self.mill.operate(client, name, decode(name, operation["body"]))
        except Malformed:
            return MALFORMED
        except Refused as error:
            return str(error)
        return ACCEPTED


def _read(leaf: bytes) -> tuple[str, Fields]:
    """A leaf's record.  Raises Malformed."""
    told = decode("Leaf", leaf)
    name = named(told["tag"], LOG)
    if name is None:
        raise Malformed(f"a leaf of {told['tag']!r}")
    return name, decode(name, told["body"])


def _leaf(name: str, fields: Fields) -> Fields:
    return {"tag": layouts()[name].tag.encode(), "body": encode(name, fields)}


def _split(data: bytes) -> list[bytes]:
    """One operation, or those under one signature."""
    try:
        operation = decode("Operation", data)
    except Malformed:
        return [data]
    if operation["tag"] != b"gristmill.commands/1":
        return [data]
    found: list[bytes] = decode("Commands", operation["body"])["operations"]
    if any(each.startswith(EVIDENCE) for each in found):
        raise Malformed("evidence among others")
    return found
