"""One hash over everything that happened, in order: equal seeds, equal hash."""

from hashlib import sha256


class Trace:
    """What was sent and what was executed, by whom and when."""

    def __init__(self) -> None:
        self._hash = sha256()

    def note(self, now_ms: int, what: str, replica: int, data: bytes) -> None:
        """Add one thing that happened."""
        self._hash.update(b"%d %s %d %d " % (now_ms, what.encode(), replica, len(data)) + data)

    def digest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()
