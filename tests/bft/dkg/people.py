"""Somebody who takes part in sessions: an identity key, and secrets that outlive a crash."""

from bft.codec.canonical import decode, encode
from bft.crypto import sealing
from bft.crypto.hashing import sha256
from bft.crypto.threshold import KeyShare
from bft.dkg import participant
from bft.dkg.dealing import open_share
from bft.dkg.messages import DkgDealing, Message
from bft.dkg.secrets import Secrets
from bft.dkg.transcript import Transcript
from bft.errors import DecodeError, Refused


class Person:
    """Good or bad; what it keeps is the encoded secrets alone."""

    def __init__(self, name: int, disk: bytes = b"") -> None:
        self.name = name
        self.key = b"\x02" + sha256(b"person %d" % name)
        self.disk = disk or encode(Secrets())

    @property
    def secrets(self) -> Secrets:
        """Read from the disk, each time."""
        return decode(Secrets, self.disk)

    def index_in(self, keys: tuple[bytes, ...]) -> int:
        return keys.index(self.key)

    def roles(self, transcript: Transcript) -> tuple[int | None, int | None]:
        """Indices as receiver and as dealer."""
        members, dealers = transcript.members, transcript.dealers
        return (
            members.index(self.key) if self.key in members else None,
            dealers.index(self.key) if self.key in dealers else None,
        )

    def wants_seed(self, transcript: Transcript) -> bool:
        return participant.wants_seed(transcript, *self.roles(transcript), self.secrets)

    def keep_seed(self, session: bytes, seed: bytes) -> None:
        self.disk = encode(self.secrets.with_seed(session, seed))

    def keep_share(self, epoch: int, share: KeyShare) -> None:
        """Also forgets the seeds: the session is over."""
        self.disk = encode(self.secrets.with_share(epoch, share).without_seeds())

    def with_seed(self, session: bytes, seed: bytes) -> "Person":
        """The same person, had it drawn another seed."""
        secrets = self.secrets.without_seeds().with_seed(session, seed)
        return Person(self.name, encode(secrets))

    def owes(self, transcript: Transcript) -> tuple[Message, ...]:
        return participant.owed(transcript, *self.roles(transcript), self.secrets)

    def share(self, transcript: Transcript) -> tuple[KeyShare | None, str]:
        """Of the sharing that the session made, or why there is none."""
        me = self.index_in(transcript.members)
        try:
            return participant.key_share(transcript, me, self.secrets), ""
        except Refused as refused:
            return None, refused.code

    def one_time_secret(self, session: bytes, dealer: int) -> bytes:
        seed = self.secrets.seed_for(session)
        assert seed is not None
        info = b"gristmill dkg receiver " + dealer.to_bytes(2, "big")
        return sealing.derive(seed, salt=session, info=info, size=sealing.KEY_BYTES)

    def can_open(self, transcript: Transcript, dealer: int, dealing: DkgDealing) -> bool:
        """Whether the dealing holds a good share for this receiver."""
        me = self.index_in(transcript.members)
        if me not in transcript.holders or len(dealing.ciphertexts) != len(transcript.holders):
            return False
        secret = self.one_time_secret(transcript.session, dealer)
        try:
            open_share(dealing, dealer, me, transcript.sealed_for(me, dealing), secret)
        except DecodeError:
            return False
        return True
