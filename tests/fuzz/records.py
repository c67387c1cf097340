"""One target for every Record with a TAG, with samples made from its field types."""

from functools import partial
from random import Random
from typing import Any

from msgspec import inspect

from bft.codec.canonical import Record, decode, encode
from tests.fuzz.registry import tagged_records
from tests.fuzz.target import Target

SAMPLES = 4
ITEMS_MAX = 3  # beyond the least number that a list must have
BYTES_MAX = 40  # beyond the least length that a field must have


def make_value(kind: Any, random: Random) -> Any:
    """A value of a type as msgspec describes it."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: make_value(field.type, random) for field in fields})
        case inspect.EnumType(cls=cls):
            return random.choice(list(cls))
        case inspect.IntType(ge=low, le=high):
            low, high = low or 0, 2**63 - 1 if high is None else high
            near = min(high, max(low, random.randrange(200)))
            return random.choice((low, high, near, random.randint(low, high)))
        case inspect.BytesType(min_length=low, max_length=high):
            low = low or 0
            return random.randbytes(random.randint(low, min(high or 2**20, low + BYTES_MAX)))
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            low = low or 0
            size = random.randint(low, min(high or 2**20, low + ITEMS_MAX))
            return tuple(make_value(item, random) for _ in range(size))
        case inspect.TupleType(item_types=items):
            return tuple(make_value(item, random) for item in items)
        case inspect.UnionType(types=types):
            return make_value(random.choice(types), random)
        case inspect.NoneType():
            return None
    raise AssertionError(f"no sample is known for {kind}")


def sample(kind: type[Record], seed: int) -> Record:
    """A value of `kind` that fits its field types and means nothing."""
    made = make_value(inspect.type_info(kind), Random(f"{kind.TAG} {seed}"))
    assert isinstance(made, kind)
    return made


def _read(kind: type[Record], data: bytes) -> bytes:
    return encode(decode(kind, data))


def targets() -> tuple[Target, ...]:
    """By name."""
    return tuple(
        Target(
            name=f"record:{kind.TAG}",
            read=partial(_read, kind),
            samples=tuple(encode(sample(kind, seed)) for seed in range(SAMPLES)),
            covers=(place,),
        )
        for place, kind in sorted(tagged_records().items())
    )
