"""What an audit costs beside the library calls that it cannot do without.

`python -m benchmarks.audit --cycles 10000 --miners 100`, one JSON object.

A child process makes the log with the real cycle machine and real signatures, and sends it through
a pipe; nothing is kept.  The auditor takes each cycle's entries; then the same hashes and
signature checks are done once more with the bare libraries: SHA-256 over every leaf and every
signed message, libsecp256k1 over every ECDSA signature, blst over every BLS signature.  Both are
CPU seconds of one process, in the same run, with all public keys parsed before.

Before the last `--resumed` cycles the auditor's state is written as a bookmark; when all is done,
another auditor reads it and audits these cycles alone.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyblst
from coincurve import PublicKey
from coincurve._libsecp256k1 import lib as libsecp256k1
from coincurve.context import GLOBAL_CONTEXT
from coincurve.ecdsa import deserialize_compact
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto import bls, identity
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare
from chain.audit.bookmark import Bookmark, decode_bookmark, encode_bookmark
from chain.audit.findings import AuditReport, CycleSummary
from chain.audit.replay import Auditor
from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import SnapshotVote
from chain.records.score_log import LogEntry
from tests.chain.audit.mill import JOB, Mill, make_genesis

MEBIBYTE = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
PROGRESS_CYCLES = 100
WARM_CYCLES = 10  # before memory is looked at for the first time


class Outlet(list[LogEntry]):
    """Entries leave as they are logged; their number stays known."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self._out, self._count = out, 0

    def append(self, entry: LogEntry) -> None:
        data = encode(entry)
        self._out.write(struct.pack(">I", len(data)) + data)
        self._count += 1

    def __len__(self) -> int:
        return self._count


class Works(Mill):
    """A mill for many miners: what never changes is worked out once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._by_key = {miner.public_key: miner for miner in self.miners}
        self._shares: dict[int, KeyShare] = {}

    def miner_of(self, unit: WorkUnit) -> PrivateKey:
        return self._by_key[unit.miner]

    def vote(self, replica: int, digest: bytes | None = None) -> SnapshotVote:
        """With no more records right than there are, however many cycles pass."""
        told = super().vote(replica, digest)
        models = (replace(model, correct=model.correct % told.records) for model in told.models)
        return replace(told, models=tuple(models))

    def key_share(self, replica: int) -> KeyShare:
        if replica not in self._shares:
            self._shares[replica] = super().key_share(replica)
        return self._shares[replica]


def make_log(descriptor: int, cycles: int, miners: int) -> None:
    """Write genesis and entries to the pipe; a frame of length 0 ends each cycle."""
    job = replace(JOB, train_records=JOB.chunk_records * miners, segments=JOB.segments)
    genesis = make_genesis(params=replace(MINIMAL, miners_max=miners), job=job)
    with os.fdopen(descriptor, "wb", buffering=MEBIBYTE) as out:
        data = encode(genesis)
        out.write(struct.pack(">I", len(data)) + data)
        mill = Works(genesis, miners)
        mill.entries = Outlet(out)
        mill.found()
        for _ in range(cycles):
            mill.cycle()
            out.write(struct.pack(">I", 0))


def frames(source: BinaryIO) -> Iterator[bytes]:
    """What comes through the pipe."""
    while head := source.read(4):
        yield source.read(struct.unpack(">I", head)[0])


class Calls:
    """Every signature check that the auditor asked for since it was emptied."""

    def __init__(self) -> None:
        self.ecdsa: list[tuple[bytes, bytes, bytes]] = []
        self.bls: list[tuple[bytes, bytes, bytes]] = []
        self._watch(identity.verify, self.ecdsa)
        self._watch(bls.verify, self.bls)

    def _watch(self, real: Callable[..., None], calls: list[tuple[bytes, bytes, bytes]]) -> None:
        """Under every name by which a module knows it."""

        def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
            calls.append((public_key, signature, message))
            real(public_key, signature, message)

        for module in list(sys.modules.values()):
            for name, value in list(vars(module).items()) if module else ():
                if value is real and module.__name__ != __name__:
                    setattr(module, name, verify)

    def clear(self) -> None:
        self.ecdsa.clear()
        self.bls.clear()


class Floor:
    """The same checks with the bare libraries."""

    def __init__(self) -> None:
        self._points: dict[bytes, Any] = {}
        generator = bls.public_key(1)
        self._generator = pyblst.BlstP2Element.uncompress(generator)

    def parse(self, calls: Calls) -> None:
        """Public keys, before the clock runs."""
        for key, _, _ in calls.ecdsa:
            if key not in self._points:
                self._points[key] = PublicKey(key).public_key
        for key, _, _ in calls.bls:
            if key not in self._points:
                self._points[key] = pyblst.BlstP2Element.uncompress(key)

    def run(self, calls: Calls, leaves: list[bytes]) -> None:
        """Every hash and every signature once."""
        sha256, points, context = hashlib.sha256, self._points, GLOBAL_CONTEXT.ctx
        for leaf in leaves:
            sha256(b"\x00" + leaf).digest()
        for key, signature, message in calls.ecdsa:
            digest = sha256(message).digest()
            parsed = deserialize_compact(signature)
            assert libsecp256k1.secp256k1_ecdsa_verify(context, parsed, digest, points[key])
        for key, signature, message in calls.bls:
            left = pyblst.miller_loop(pyblst.BlstP1Element.uncompress(signature), self._generator)
            hashed = pyblst.BlstP1Element.hash_to_group(message, bls.DST)
            assert pyblst.final_verify(left, pyblst.miller_loop(hashed, points[key]))


def resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE


class Resumption:
    """The last cycles of a log, audited once more from a bookmark before them."""

    def __init__(self, genesis: bytes, cycles: int) -> None:
        self._genesis, self._cycles = genesis, cycles
        self._bookmark = b""
        self._write_s = 0.0
        self._entries: list[bytes] = []

    def before_cycle(self, left: int, auditor: Auditor) -> None:
        """So many cycles are left."""
        if left != self._cycles:
            return
        began, newest = time.process_time(), auditor.roots.newest
        assert newest is not None
        bookmark = Bookmark(
            chain_id=auditor.chain_id,
            release=b"benchmark",
            audited=b"now",
            passed=1,
            root=newest.root(),
            walk=auditor.walk(),
        )
        self._bookmark = encode_bookmark(bookmark)
        self._write_s = time.process_time() - began

    def after_cycle(self, entries: list[bytes]) -> None:
        """These were audited."""
        if self._bookmark:
            self._entries += entries

    def measure(self, whole: AuditReport) -> dict[str, Any]:
        """Figures; `whole` is what the audit of everything said."""
        began = time.process_time()
        auditor = Auditor(self._genesis, bookmark=decode_bookmark(self._bookmark))
        read_s = time.process_time() - began
        for entry in self._entries:
            auditor.take(entry)
        passed_s = time.process_time() - began
        report = auditor.report()
        assert report.passed and report.log_root == whole.log_root
        assert report.entries == whole.entries
        return {
            "cycles": self._cycles,
            "audit_cpu_s": round(passed_s, 3),
            "bookmark_bytes": len(self._bookmark),
            "bookmark_write_ms": round(1000 * self._write_s, 1),
            "bookmark_read_ms": round(1000 * read_s, 1),
        }


def measure(source: BinaryIO, cycles: int, every: int, resumed: int) -> dict[str, Any]:
    """Audit what comes, cycle by cycle; of each `every`-th the same checks are done bare, too."""
    incoming, clock = frames(source), time.process_time
    told: list[int] = []

    def on_cycle(summary: CycleSummary) -> None:
        assert summary.block is not None and summary.units > 0
        told.append(summary.revealed)
        del told[:-1]

    genesis = next(incoming)
    auditor, resumption = Auditor(genesis, on_cycle), Resumption(genesis, resumed)
    calls, floor = Calls(), Floor()
    whole = audited = bare = 0.0
    counts = {"ecdsa": 0, "bls": 0, "entries": 0, "bytes": 0}
    first = top = done = 0
    batch: list[bytes] = []
    for frame in incoming:
        if frame:
            batch.append(frame)
            continue
        resumption.before_cycle(cycles - done, auditor)
        calls.clear()
        began = clock()
        for entry in batch:
            auditor.take(entry)
        passed = clock() - began
        whole += passed
        if done % every == 0:
            floor.parse(calls)
            began = clock()
            floor.run(calls, batch)
            bare += clock() - began
            audited += passed
        counts["ecdsa"] += len(calls.ecdsa)
        counts["bls"] += len(calls.bls)
        counts["entries"] += len(batch)
        counts["bytes"] += sum(map(len, batch))
        resumption.after_cycle(batch)
        batch, done = [], done + 1
        top = max(top, resident())
        if done == min(WARM_CYCLES, cycles):
            first = top = resident()
        if done % PROGRESS_CYCLES == 0:
            line = f"{done} cycles: {audited / bare:.2f} of the floor, {top / MEBIBYTE:.1f} MiB"
            print(line, file=sys.stderr, flush=True)
    report = auditor.report()
    assert report.passed and done == cycles, report.verdict()
    return {
        "cycles": cycles,
        "units_per_cycle": told[-1] if told else None,
        **counts,
        "audit_cpu_s": round(whole, 1),
        "floor_of_every": every,
        "audit_cpu_s_there": round(audited, 1),
        "floor_cpu_s_there": round(bare, 1),
        "ratio": round(audited / bare, 2),
        "audit_ms_per_cycle": round(1000 * whole / cycles, 1),
        "resident_mib": {
            f"after {min(WARM_CYCLES, cycles)} cycles": round(first / MEBIBYTE, 1),
            "at most after that": round(top / MEBIBYTE, 1),
        },
        "resumed": resumption.measure(report),
        "log_root": report.log_root.hex() if report.log_root else None,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--miners", type=int, default=100)
    parser.add_argument(
        "--floor-every", type=int, default=1, help="of so many cycles one is done bare"
    )
    parser.add_argument(
        "--resumed", type=int, default=1, help="so many cycles are audited from a bookmark, too"
    )
    options = parser.parse_args()
    if not 1 <= options.resumed <= options.cycles:
        parser.error("--resumed is not one of the cycles")
    receiving, sending = os.pipe()
    context = multiprocessing.get_context("fork")
    maker = context.Process(target=make_log, args=(sending, options.cycles, options.miners))
    maker.start()
    os.close(sending)
    try:
        with os.fdopen(receiving, "rb", buffering=MEBIBYTE) as source:
            figures = measure(source, options.cycles, options.floor_every, options.resumed)
        maker.join()
    finally:
        maker.kill()
    print(json.dumps({"miners": options.miners, **figures}, indent=1))


if __name__ == "__main__":
    main()
