"""One process of the standby trial: takes the key when it can, and signs as much as it may.

Each process wants another digest in every slot, and slots come by the clock: whoever signs where
another one has signed is found out by comparing what they wrote.  Key, guard, bounds, lease and
etcd are those of a replica; what stands for the replica's journal is a file of JSON lines.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bft.codec.canonical import encode
from bft.codec.envelope import pre_authentication_encoding
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import Busy, ConfigError, FederationError, Unavailable
from bft.pbft.messages import Commit, ViewChange
from coordinator.guard.claims import Claim, Domain, claim_of
from coordinator.guard.keeper import GuardedKey, Keeper
from coordinator.guard.rules import Guard, Reservation, SigningRefused
from coordinator.guard.shared import SharedGuard
from coordinator.guard.store import GuardError, GuardStore, SqliteGuard
from deploy.etcd import EtcdClient, open_client
from deploy.lease import RENEWALS, Hold, acquire, key_prefix

SLOTS_S = 25  # slots that come by in a second
VIEW_SLOTS = 100  # after so many the view changes
RETRY_S = 0.2
CALL_S = 2

KEY = PrivateKey(sha256(b"the key of the standby trial"))
CHAIN = sha256(b"the chain of the standby trial")
PREFIX = key_prefix(CHAIN, KEY.public_key)


class LeaseOnly:
    """What must not be done: believe in the lease alone.  For comparison."""

    def __init__(self) -> None:
        self.reservation = Reservation()

    def raise_to(self, reservation: Reservation) -> None:
        """Asks nobody."""
        self.reservation = reservation


class Holder:
    """See the module."""

    def __init__(self, home: Path, endpoint: str, ttl_s: int, lease_only: bool) -> None:
        self._home, self._ttl_s, self._lease_only = home, ttl_s, lease_only
        path = home / "guard.db"
        self._local = SqliteGuard(path, KEY.public_key, create=not path.exists())
        self._etcd: EtcdClient = open_client([endpoint], timeout_s=CALL_S)
        self._journal = (home / "journal.jsonl").open("a+b", buffering=0)
        self._out = (home / "signed.jsonl").open("ab", buffering=0)
        self._name = f"{home.name}, process {os.getpid()}".encode()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                hold = await asyncio.to_thread(acquire, self._etcd, PREFIX, self._name, self._ttl_s)
                await self._hold(hold)
            except (Busy, Unavailable, GuardError, SigningRefused) as error:
                print(f"{time.time():.3f} {error}", file=sys.stderr, flush=True)
            except ConfigError as error:
                sys.exit(f"{time.time():.3f} {error}")
            except FederationError as error:
                print(f"{time.time():.3f} {error!r}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)

    async def _hold(self, hold: Hold) -> None:
        store: GuardStore
        inherited: Reservation | None = None
        if self._lease_only:
            store = LeaseOnly()
        else:
            store = await asyncio.to_thread(SharedGuard, self._local, hold)
            inherited = self._local.inherited
        guard = Guard(self._recall(), inherited)
        keeper = Keeper(guard, store)
        print(f"{time.time():.3f} holds the key, token {hold.fence}", file=sys.stderr, flush=True)
        renewing = asyncio.create_task(self._renew(hold))
        try:
            await self._sign(guard, keeper, renewing)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError, FederationError):
                await renewing
            await keeper.close()

    async def _renew(self, hold: Hold) -> None:
        while True:
            await asyncio.sleep(hold.ttl_s / RENEWALS)
            with contextlib.suppress(Unavailable):  # the lease may outlast it; `current` says
                await asyncio.to_thread(hold.renew)

    async def _sign(self, guard: Guard, keeper: Keeper, renewing: asyncio.Task[None]) -> None:
        """Vote in every slot that comes, until the key is lost."""
        key = GuardedKey(guard, KEY.sign, self._local)
        last = view = 0
        while not renewing.done():
            slot = int(time.time() * SLOTS_S)
            if slot == last:
                await asyncio.sleep(1 / SLOTS_S / 4)
                continue
            last = slot
            messages = [self._commit(slot)]
            if slot // VIEW_SLOTS != view:
                view = slot // VIEW_SLOTS
                messages.insert(0, self._view_change(view))
            for signed in messages:
                claim = claim_that_is_free(guard, signed)
                if claim is None:
                    continue  # somebody may have signed it: the other slots are ours
                signature = key.sign(signed)
                await self._let_go(keeper, claim, signed, signature)
        await renewing

    async def _let_go(self, keeper: Keeper, claim: Claim, signed: bytes, signature: bytes) -> None:
        """Bounds, then journal, then out."""
        guarded = await keeper.secure()
        if guarded is not None:
            write_claims(self._journal.fileno(), guarded.claims)
        self._out.write(line(claim, signed=signed.hex(), signature=signature.hex()))

    def _commit(self, slot: int) -> bytes:
        vote = Commit(
            chain_id=CHAIN,
            epoch=1,
            view=slot // VIEW_SLOTS,
            sequence=slot,
            digest=sha256(self._home.name.encode()),
            replica=0,
        )
        return pre_authentication_encoding(vote.TAG.encode(), encode(vote))

    def _view_change(self, view: int) -> bytes:
        """`low` differs among the processes, as what they remember would."""
        message = ViewChange(
            chain_id=CHAIN,
            epoch=1,
            view=view,
            low=sum(self._home.name.encode()),
            stable=(),
            prepared=(),
            replica=0,
        )
        return pre_authentication_encoding(message.TAG.encode(), encode(message))

    def _recall(self) -> list[Claim]:
        """The journal's exact memory.  A torn last line was never durable."""
        self._journal.seek(0)
        claims = []
        for text in self._journal.read().split(b"\n")[:-1]:
            row = json.loads(text)
            claims.append(
                Claim(
                    Domain(row["domain"]),
                    row["slot"],
                    (row["rank"][0], row["rank"][1]),
                    bytes.fromhex(row["digest"]),
                )
            )
        return claims


def claim_that_is_free(guard: Guard, signed: bytes) -> Claim | None:
    """What `signed` promises, if the guard of this very process lets it."""
    claim = claim_of(signed)
    assert claim is not None
    return claim if guard.allows(claim) else None


def line(claim: Claim, **more: str) -> bytes:
    """One claim as JSON."""
    row = {
        "domain": int(claim.domain),
        "slot": claim.slot,
        "rank": list(claim.rank),
        "digest": claim.digest.hex(),
        "at": time.time(),
        **more,
    }
    return json.dumps(row).encode() + b"\n"


def write_claims(descriptor: int, claims: Iterable[Claim]) -> None:
    """Durable on return."""
    os.write(descriptor, b"".join(line(claim) for claim in claims))
    os.fsync(descriptor)


def main() -> None:
    """One process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("--ttl", type=int, required=True)
    parser.add_argument("--lease-only", action="store_true")
    given = parser.parse_args()
    asyncio.run(Holder(given.home, given.endpoint, given.ttl, given.lease_only).run())


if __name__ == "__main__":
    main()
