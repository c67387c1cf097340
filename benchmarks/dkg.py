"""What key generation and resharing cost one replica, and how large the state gets.

Prints one JSON object.  CPU milliseconds of one replica over a whole session: what it says, the
fold over what all say, its key share; with everybody correct, and in total under attack: f dealers
seal garbage to everybody, and as receivers complain falsely about all the others.  Transcript:
bytes in the replicated state, and CPU milliseconds to encode and to decode it, beside SHA-256 of
the same bytes.

    python -m benchmarks.dkg [--n 4 7 10 16 31]
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bft.codec.canonical import decode, encode
from bft.crypto import shamir
from bft.crypto.threshold import KeyShare, sign_share, verify_share
from bft.dkg.fold import hear
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgReady, Message, Phase
from bft.dkg.participant import _one_time_secret, key_share, owed
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript, open_resharing, open_session
from bft.quorum import faults, strong

CHAIN_ID = bytes([3] * 32)
SIZES = (4, 7, 10, 16, 31)
MESSAGE = b"activation"
BAR_S = 60  # of one core for each replica, at 31


def identity(name: int) -> bytes:
    return b"\x02" + sha256(b"replica %d" % name).digest()


def milliseconds(act: Callable[[], Any], runs: int = 5) -> float:
    """CPU time of the fastest of `runs` calls."""
    times = []
    for _ in range(runs):
        start = time.process_time_ns()
        act()
        times.append(time.process_time_ns() - start)
    return round(min(times) / 1e6, 2)


@dataclass
class Cost:
    """CPU nanoseconds of all replicas together for what each says, of one for what all do."""

    says: int = 0
    folds: int = 0
    share: int = 0


def play(transcript: Transcript, held: dict[bytes, Secrets], bad: int) -> tuple[Transcript, Cost]:
    """A session in which everybody speaks; `bad` members, from the second on, lie."""
    cost = Cost()
    shamir.load_commitments.cache_clear()  # a replica does not begin with the points loaded
    liars = transcript.dealers[1 : bad + 1]
    while transcript.phase is not Phase.DONE:
        for key in dict.fromkeys((*transcript.members, *transcript.dealers)):
            receiver = _index(transcript.members, key)
            dealer = _index(transcript.dealers, key)
            start = time.process_time_ns()
            messages = owed(transcript, receiver, dealer, held[key])
            cost.says += time.process_time_ns() - start
            if key in liars and receiver is not None:
                messages = lies(transcript, receiver, held[key], messages)
            for message in messages:
                start = time.process_time_ns()
                transcript = hear(transcript, key, message)
                cost.folds += time.process_time_ns() - start
    start = time.process_time_ns()
    share = key_share(transcript, 0, held[transcript.members[0]])
    cost.share = time.process_time_ns() - start
    verify_share(transcript.public, 0, sign_share(share, MESSAGE), MESSAGE)
    assert bad == 0 or len(transcript.faults) == bad * (1 + len(transcript.dealers) - bad)
    return transcript, cost


def lies(
    transcript: Transcript, receiver: int, secrets: Secrets, honest: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Garbage for shares; false complaints, once nobody has a true one left."""
    session, seed = transcript.session, secrets.seed_for(transcript.session)
    assert seed is not None
    told: list[Message] = []
    for message in honest:
        if isinstance(message, DkgDealing):
            message = replace(message, ciphertexts=tuple(c[::-1] for c in message.ciphertexts))
        if isinstance(message, DkgReady):
            told += [
                DkgComplaint(
                    session=session,
                    dealer=dealt.author,
                    secret_key=_one_time_secret(session, dealt.author, seed),
                )
                for dealt in transcript.surviving
            ]
        told.append(message)
    return tuple(told)


def _index(keys: tuple[bytes, ...], key: bytes) -> int | None:
    return keys.index(key) if key in keys else None


def genesis(n: int, bad: int) -> tuple[Transcript, Cost]:
    members = tuple(identity(name) for name in range(n))
    opening = open_session(CHAIN_ID, 0, 0, members, strong(n))
    held = {key: for_session(opening.session, sha256(key).digest()) for key in members}
    return play(opening, held, bad)


def resharing(n: int, bad: int) -> tuple[Transcript, Cost]:
    """One of n members is replaced."""
    old = tuple(identity(name) for name in range(n))
    new = (*old[1:], identity(n))
    polynomial = tuple(pow(5, k + 3, 2**250) + 1 for k in range(strong(n)))
    opening = open_resharing(CHAIN_ID, 1, 0, new, strong(n), old, shamir.commit(polynomial))
    held = {
        key: for_session(opening.session, sha256(key).digest()) for key in dict.fromkeys(old + new)
    }
    for at, key in enumerate(old):
        share = KeyShare(index=at, secret=shamir.evaluate(polynomial, at + 1))
        held[key] = held[key].with_share(0, share)
    return play(opening, held, bad)


def report(n: int, session: Callable[[int, int], tuple[Transcript, Cost]]) -> dict[str, Any]:
    done, cost = session(n, 0)
    _, attacked = session(n, faults(n))
    data = encode(done)
    largest = max(len(encode(dealt.message)) for dealt in done.dealings)
    return {
        "says_ms": round(cost.says / n / 1e6, 1),
        "folds_ms": round(cost.folds / 1e6, 1),
        "key_share_ms": round(cost.share / 1e6, 1),
        "total_ms": _total_ms(cost, n),
        "total_with_f_liars_ms": _total_ms(attacked, n),
        "dealing_bytes": largest,
        "transcript_bytes": len(data),
        "encode_ms": milliseconds(lambda: encode(done)),
        "decode_ms": milliseconds(lambda: decode(Transcript, data)),
        "sha256_ms": milliseconds(lambda: sha256(data).digest()),
    }


def _total_ms(cost: Cost, n: int) -> float:
    return round((cost.says / n + cost.folds + cost.share) / 1e6, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    found = {
        str(n): {"genesis": report(n, genesis), "resharing": report(n, resharing)}
        for n in options.n
    }
    slowest = max(
        kind["total_with_f_liars_ms"] for sizes in found.values() for kind in sizes.values()
    )
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "machine": platform.machine(),
                "per_replica": found,
                "slowest_s": round(slowest / 1000, 2),
                "bar_s": BAR_S,
            },
            indent=2,
        )
    )
    return 0 if slowest < BAR_S * 1000 else 1


if __name__ == "__main__":
    raise SystemExit(main())
