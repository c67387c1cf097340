"""Something that strangers check, and how they find a changed byte in it.

A judge takes changed bytes and says by which rule they are named.  It raises `Missed` if nobody
would notice; any other exception than the product's own refusals is a crash, and goes through.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bft.errors import BadSignature, ConfigError, DecodeError, Refused


class Missed(AssertionError):
    """A changed byte was taken for the truth, or blamed on something else."""


class Crashed(AssertionError):
    """A changed byte brought down who looked at it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Bytes that matter, all of them."""

    name: str
    data: bytes
    judge: Callable[[bytes], str]  # of changed bytes: who named them, and by which rule


@dataclass(frozen=True, kw_only=True)
class Change:
    """One byte of one subject becomes another."""

    subject: Subject
    place: int  # in subject.data
    mask: int  # 1..255, added by exclusive or

    @property
    def changed(self) -> bytes:
        """The subject's bytes with the change."""
        data = self.subject.data
        byte = bytes([data[self.place] ^ self.mask])
        return data[: self.place] + byte + data[self.place + 1 :]

    def judged(self) -> str:
        """By which rule it is named.  Raises Missed or Crashed, with what brings it back."""
        where = f"{self.subject.name}, byte {self.place} of {len(self.subject.data)}"
        try:
            return self.subject.judge(self.changed)
        except Missed as error:
            raise Missed(f"{where} ^ {self.mask:#04x}: {error}") from None
        except Exception as error:
            raise Crashed(f"{where} ^ {self.mask:#04x}: {error!r}") from error


def refusal(check: Callable[[], object]) -> str:
    """How `check` refuses.  Raises Missed: it does not."""
    try:
        found = check()
    except Refused as error:
        return error.code
    except BadSignature:
        return "bad-signature"
    except (DecodeError, ConfigError) as error:
        return {"DecodeError": "malformed", "ConfigError": "not-this-chain"}[type(error).__name__]
    raise Missed(f"taken for true: {str(found)[:200]}")
