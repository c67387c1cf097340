"""Where two records differ, in words: so that a finding names the field, not two blobs.

Pure.
"""

from bft.codec.canonical import Record

SHOWN_BYTES_MAX = 16


def difference(stands: object, follows: object, path: str = "") -> str:
    """The first field in which two values of one type differ; empty when they are equal."""
    if isinstance(stands, Record) and isinstance(follows, Record):
        if type(stands) is not type(follows):
            return f"a {type(stands).__name__} stands there; a {type(follows).__name__} follows"
        for name in stands.__struct_fields__:
            inner = f"{path}.{name}" if path else name
            found = difference(getattr(stands, name), getattr(follows, name), inner)
            if found:
                return found
        return ""
    if isinstance(stands, tuple) and isinstance(follows, tuple):
        for place, (here, there) in enumerate(zip(stands, follows, strict=False)):
            found = difference(here, there, f"{path}[{place}]")
            if found:
                return found
        if len(stands) != len(follows):
            return f"{path} has {len(stands)} items; {len(follows)} follow"
        return ""
    if stands == follows:
        return ""
    return f"{path} is {shown(stands)}; {shown(follows)} follows"


def shown(value: object) -> str:
    """A value for people, short."""
    if not isinstance(value, bytes):
        return str(value)
    short = value[:SHOWN_BYTES_MAX].hex()
    return f"{short}... ({len(value)} bytes)" if len(value) > SHOWN_BYTES_MAX else short
