"""The one tree of errors, sorted by who must act.

Pure.  Every text names what came and what was expected.
"""


class FederationError(Exception):
    """Root of all errors that this project raises on purpose."""


class DecodeError(FederationError):
    """These bytes are no message of ours.  The sender is unproven: drop them, blame nobody."""


class BadSignature(DecodeError):
    """The signature does not stand under these bytes with this key."""


class Refused(FederationError):
    """A well-formed, signed input that the rules do not accept (late, unknown, twice, too many).

    Attributes:
        code: short, stable, machine-readable word, for example "late" or "not-assigned".
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ProtocolViolation(FederationError):
    """A peer signed what the protocol forbids, and the evidence alone convicts it.

    Attributes:
        culprit: replica index whose signatures stand under the evidence.
        evidence: encoded signed messages; anyone can check them, so they go to the audit log.
    """

    def __init__(self, text: str, *, culprit: int, evidence: tuple[bytes, ...]) -> None:
        super().__init__(text)
        self.culprit = culprit
        self.evidence = evidence


class ConfigError(FederationError):
    """The operator's files or flags are wrong; nothing was started."""


class Busy(FederationError):
    """A bounded queue is full; the caller may try again later."""


class Unavailable(FederationError):
    """Nobody who could answer did so in time; the caller may try again."""
