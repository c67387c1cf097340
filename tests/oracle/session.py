"""Key generation and resharing: docs/PROTOCOL.md, section 5, "A session"."""

from functools import cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from py_ecc.optimized_bls12_381.optimized_curve import (
    G2,
    Z2,
    add,
    curve_order,
    eq,
    is_inf,
    multiply,
    neg,
)

from tests.oracle.primitives import committed, compressed, g2, lagrange, strong, tagged
from tests.oracle.records import Malformed, pack

KEYS, DEALING, COMPLAINT, DONE, FAILED = 1, 2, 3, 4, 5
TAKEN = ""
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


@cache
def proven(
    session: bytes, author: int, commitments: tuple[bytes, ...], point: bytes, scalar: bytes
) -> bool:
    """Whether all are points, and the dealer knows the secret under the first commitment."""
    s = int.from_bytes(scalar, "big")
    try:
        points = [g2(each) for each in (*commitments, point)]
    except Malformed:
        return False
    told = pack([session, author, commitments, point])
    c = int.from_bytes(tagged("dkg.proof-of-knowledge/1", told), "big") % curve_order
    if s >= curve_order:
        return False
    return bool(eq(add(multiply(G2, s), neg(multiply(points[0], c))), points[-1]))


class Session:
    """One attempt.  `old` is empty at genesis."""

    def __init__(
        self,
        chain: bytes,
        epoch: int,
        attempt: int,
        receivers: list[bytes],
        dealers: list[bytes],
        old: list[bytes],
    ) -> None:
        self.chain, self.epoch, self.attempt = chain, epoch, attempt
        self.receivers, self.dealers, self.old = receivers, dealers, old
        self.t = strong(len(receivers))
        told: list[Any] = [chain, epoch, attempt, self.t, receivers]
        if old:
            self.id = tagged("dkg.resharing/1", pack([*told, dealers, old]))
        else:
            self.id = tagged("dkg.session/1", pack(told))
        self.phase = KEYS
        self.keys: dict[int, list[bytes]] = {}
        self.dealings: dict[int, Any] = {}  # in log order
        self.void: set[int] = set()
        self.out: set[int] = set()
        self.complained: set[tuple[int, int]] = set()
        self.ready: set[int] = set()
        self.commitments: list[bytes] = []

    @property
    def needed(self) -> int:
        """Dealings."""
        return len(self.old) or self.t

    @property
    def surviving(self) -> list[int]:
        """Dealers, in log order."""
        return [d for d in self.dealings if d not in self.void and d not in self.out]

    @property
    def qualified(self) -> list[int]:
        """The first that are needed."""
        return self.surviving[: self.needed]

    @property
    def awaited(self) -> list[int]:
        """Who has not spoken in this phase."""
        if self.phase == KEYS:
            return [r for r in range(len(self.receivers)) if r not in self.keys]
        if self.phase == DEALING:
            return [d for d in range(len(self.dealers)) if d not in self.dealings]
        if self.phase == COMPLAINT:
            return [r for r in sorted(self.keys) if r not in self.ready]
        return []

    def hear(self, author: bytes, name: str, said: dict[str, Any]) -> str:
        """The word of the refusal; empty when the message is taken."""
        role = self.dealers if name == "DkgDealing" else self.receivers
        if author not in role:
            return "not-a-member"
        if said["session"] != self.id:
            return "wrong-session"
        step = {
            (KEYS, "DkgKeys"): self._on_keys,
            (DEALING, "DkgDealing"): self._on_dealing,
            (COMPLAINT, "DkgComplaint"): self._on_complaint,
            (COMPLAINT, "DkgReady"): self._on_ready,
        }.get((self.phase, name))
        if step is None:
            return "wrong-phase"
        if word := step(role.index(author), said):
            return word
        if self.phase == COMPLAINT and len(self.surviving) < self.needed:
            self.phase = FAILED
        elif self.phase in (KEYS, DEALING, COMPLAINT) and not self.awaited:
            self._next()
        return TAKEN

    def close(self) -> None:
        """A resharing's phase has had its time."""
        enough = {
            KEYS: len(self.keys) >= self.t,
            DEALING: len(self.surviving) >= self.needed,
            COMPLAINT: len(self.ready) >= self.t,
        }
        if enough[self.phase]:
            self._next()
        else:
            self.phase = FAILED

    def _next(self) -> None:
        if self.phase == KEYS:
            self.phase = DEALING
        elif self.phase == DEALING:
            self.phase = COMPLAINT if len(self.surviving) >= self.needed else FAILED
        else:
            self._finish()

    def _on_keys(self, author: int, said: dict[str, Any]) -> str:
        if author in self.keys:
            return "twice"
        if len(said["keys"]) != len(self.dealers):
            return "malformed"
        for key in said["keys"]:
            try:
                X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
            except ValueError:
                return "malformed"
        self.keys[author] = said["keys"]
        return TAKEN

    def _on_dealing(self, author: int, said: dict[str, Any]) -> str:
        if author in self.dealings:
            return "twice"
        self.dealings[author] = said
        if not self._stands(author, said):
            self.void.add(author)
        return TAKEN

    def _stands(self, author: int, said: dict[str, Any]) -> bool:
        commitments = tuple(said["commitments"])
        if len(commitments) != self.t or len(said["ciphertexts"]) != len(self.keys):
            return False
        try:
            if self.old and not eq(g2(commitments[0]), committed(self.old, author + 1)):
                return False
        except Malformed:
            return False
        return proven(self.id, author, commitments, said["proof_point"], said["proof_scalar"])

    def _on_complaint(self, author: int, said: dict[str, Any]) -> str:
        dealer = said["dealer"]
        secret = X25519PrivateKey.from_private_bytes(said["secret_key"])
        if author not in self.keys:
            return "no-keys"
        if dealer not in self.dealings:
            return "no-such-dealing"
        if (author, dealer) in self.complained:
            return "twice"
        if dealer not in self.surviving:
            return "already-out"
        if secret.public_key().public_bytes_raw() != self.keys[author][dealer]:
            return "not-its-key"
        self.complained.add((author, dealer))
        if not self._share_fits(author, dealer, secret):
            self.out.add(dealer)
        return TAKEN

    def _share_fits(self, receiver: int, dealer: int, secret: X25519PrivateKey) -> bool:
        dealing = self.dealings[dealer]
        sealed = dealing["ciphertexts"][sorted(self.keys).index(receiver)]
        context = pack([self.id, dealer, receiver, dealing["commitments"]])
        try:
            opened = SUITE.decrypt(sealed, secret, tagged("dkg.share/1", context))
        except InvalidTag:
            return False
        share = int.from_bytes(opened, "big")
        if len(opened) != 32 or not 0 < share < curve_order:
            return False
        return bool(eq(multiply(G2, share), committed(dealing["commitments"], receiver + 1)))

    def _on_ready(self, author: int, said: dict[str, Any]) -> str:
        if said["phase"] != COMPLAINT:
            return "wrong-phase"
        if author not in self.keys:
            return "no-keys"
        if author in self.ready:
            return "twice"
        self.ready.add(author)
        return TAKEN

    def _finish(self) -> None:
        weights = lagrange(self.qualified) if self.old else [1] * self.needed
        totals = []
        for k in range(self.t):
            total = Z2
            for dealer, weight in zip(self.qualified, weights, strict=True):
                point = g2(self.dealings[dealer]["commitments"][k])
                total = add(total, multiply(point, weight))
            totals.append(total)
        if any(is_inf(total) for total in totals):
            self.phase = FAILED
            return
        self.commitments, self.phase = [compressed(total) for total in totals], DONE
