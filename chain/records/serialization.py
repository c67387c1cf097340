"""Bitcoin's little-endian fields: a strict reader, and the compact sizes in front of lists.

Source: Bitcoin Core, serialize.h (`ReadCompactSize` refuses what is not minimal; so do we).
Pure.
"""

from bft.errors import DecodeError


class Reader:
    """Takes fields off the front of some bytes, never one past the end.

    Every method raises DecodeError when the bytes do not hold what was asked for.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.remaining:
            raise DecodeError(f"{count} bytes expected at offset {self._at}; {self.remaining} left")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def peek(self, count: int) -> bytes:
        """Up to `count` next bytes, left where they are."""
        return self._data[self._at : self._at + count]

    def integer(self, width: int) -> int:
        """An unsigned integer of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def compact_size(self) -> int:
        """A length in its shortest form."""
        first = self.integer(1)
        if first < 0xFD:
            return first
        value = self.integer({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])
        if value < {0xFD: 0xFD, 0xFE: 2**16, 0xFF: 2**32}[first]:
            raise DecodeError(f"length {value} is not in its shortest form")
        return value

    def count(self, *, item_bytes_min: int, items_max: int) -> int:
        """The length of a list whose items have at least `item_bytes_min` bytes."""
        value = self.compact_size()
        if value > min(items_max, self.remaining // item_bytes_min):
            raise DecodeError(
                f"a list of {value} came; at most {items_max}, in {self.remaining} bytes, can be"
            )
        return value

    def blob(self, bytes_max: int) -> bytes:
        """Bytes with their length in front."""
        size = self.compact_size()
        if size > bytes_max:
            raise DecodeError(f"a field of {size} bytes came; at most {bytes_max} allowed")
        return self.take(size)

    def end(self) -> None:
        """All bytes must have been taken."""
        if self.remaining:
            raise DecodeError(f"{self.remaining} bytes too many")


def compact_size(value: int) -> bytes:
    """A length in its shortest form; `value` is below 2**64."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value < 2**16:
        return b"\xfd" + value.to_bytes(2, "little")
    if value < 2**32:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def blob(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return compact_size(len(data)) + data
