"""Who may store which update now: signature, chain, cycle, phase, size, and one for each unit.

Everything is checked here before a byte of the update is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bft.codec.envelope import open_as
from bft.errors import DecodeError, Refused
from chain.federation import api
from chain.records.contribution import UploadAuthorization, WorkUnit
from chain.records.phase import Phase
from chain.rules.updates import update_bytes_max
from coordinator.cycle.state import Rules, State

AUTHORIZATION_BYTES_MAX = 1024


@dataclass
class Quota:
    """Which updates each miner has stored here in the present cycle."""

    cycle: int = 0
    stored: dict[bytes, set[bytes]] = field(default_factory=dict)  # miner -> digests

    def reserve(self, cycle: int, miner: bytes, digest: bytes, units: int) -> bool:
        """One artifact for each committed unit; the same one may come again.

        Returns:
            Whether a place was taken that `release` gives back if nothing is stored.

        Raises:
            Refused: "quota".
        """
        if cycle != self.cycle:
            self.cycle, self.stored = cycle, {}
        own = self.stored.setdefault(miner, set())
        if digest in own:
            return False
        if len(own) >= units:
            raise Refused("quota", f"{len(own)} updates are stored for {units} committed units")
        own.add(digest)
        return True

    def release(self, miner: bytes, digest: bytes) -> None:
        """The artifact was not stored after all."""
        self.stored.get(miner, set()).discard(digest)


class Dealt:
    """The units of each miner, sorted once an assignment and not once an upload."""

    def __init__(self) -> None:
        self._units: tuple[WorkUnit, ...] = ()
        self._of: dict[bytes, list[int]] = {}

    def of(self, units: tuple[WorkUnit, ...], miner: bytes) -> Sequence[int]:
        """The numbers of this miner's units among the state's."""
        if units is not self._units:
            self._units, self._of = units, {}
            for unit in units:
                self._of.setdefault(unit.miner, []).append(unit.unit)
        return self._of.get(miner, ())


def longest_update(rules: Rules) -> int:
    """No update of this job has more bytes: what is longer would only fill the store."""
    params, job = rules.params, rules.job
    longest = max(update_bytes_max(job, segment) for segment in range(job.segments))
    return min(params.update_bytes_max, longest)


class UploadRights:
    """What the state of the cycle allows."""

    def __init__(self, chain_id: bytes, bytes_max: int, state: Callable[[], State]) -> None:
        """`bytes_max`: of one update, see `longest_update`."""
        self._chain_id, self._update_bytes_max, self._state = chain_id, bytes_max, state
        self._quota, self._dealt = Quota(), Dealt()

    def open(self, header: str, digest: bytes) -> tuple[bytes, UploadAuthorization]:
        """(miner, what it asks for), from the header of a request about `digest`.

        Raises:
            DecodeError, BadSignature: it is no authorization for this chain and digest.
        """
        try:
            sealed = bytes.fromhex(header)
        except ValueError:
            raise DecodeError(f"{api.UPLOAD_HEADER} is not hex") from None
        if not sealed:
            raise DecodeError(f"the header {api.UPLOAD_HEADER} is missing")
        miner, asked = open_as(UploadAuthorization, sealed, bytes_max=AUTHORIZATION_BYTES_MAX)
        if asked.chain_id != self._chain_id:
            raise DecodeError("the upload is authorized for another chain")
        if asked.digest != digest:
            raise DecodeError("the upload is authorized for another digest")
        return miner, asked

    def check(self, miner: bytes, asked: UploadAuthorization) -> int:
        """This miner's committed units, if it may store an update of this size now.

        Raises:
            Refused: "wrong-phase", "wrong-cycle", "late", "not-assigned", "not-committed",
                "too-long".
        """
        state = self._state()
        if asked.cycle < state.cycle:
            raise Refused("late", f"cycle {asked.cycle} is over; cycle {state.cycle} runs")
        if asked.cycle != state.cycle:
            raise Refused("wrong-cycle", f"cycle {asked.cycle} came; cycle {state.cycle} runs")
        phase = Phase(state.phase)
        if phase > Phase.REVEAL:
            raise Refused("late", f"reveals are over; the cycle is in {phase.name}")
        units = self._dealt.of(state.units, miner)
        if phase >= Phase.TRAINING and not units:
            raise Refused("not-assigned", "this key has no unit in this cycle")
        if phase < Phase.REVEAL:
            raise Refused("wrong-phase", f"reveals are not open; the cycle is in {phase.name}")
        committed = [unit for unit in units if unit in state.commitments]
        if not committed:
            raise Refused("not-committed", "none of this miner's units has a commitment")
        if not 0 < asked.size <= self._update_bytes_max:
            raise Refused("too-long", f"{asked.size} bytes; 1 to {self._update_bytes_max} allowed")
        return len(committed)

    def take(self, miner: bytes, asked: UploadAuthorization) -> bool:
        """`check`, and one of the miner's places for this update; see `Quota.reserve`."""
        units = self.check(miner, asked)
        return self._quota.reserve(asked.cycle, miner, asked.digest, units)

    def give_back(self, miner: bytes, asked: UploadAuthorization) -> None:
        """Nothing was stored in the place that `take` took."""
        self._quota.release(miner, asked.digest)
