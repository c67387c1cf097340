"""How vectors are written: bytes as hex, integers as numbers, those of 2**53 and above as text.

Many JSON readers keep 53 bits of a number only.
"""

from typing import Any

from bft.codec.canonical import Record

EXACT_MAX = 2**53 - 1


def plain(value: Any) -> Any:
    """What `json` can write."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT_MAX else str(value)
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in type(value).__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value]
