"""All targets."""

from functools import cache

from tests.fuzz import (
    auditors,
    bitcoin,
    edges,
    federation,
    guarded,
    outsiders,
    peers,
    published,
    records,
    snapshots,
    wallet,
)
from tests.fuzz.target import Target


@cache
def table() -> dict[str, Target]:
    """By name."""
    found: dict[str, Target] = {}
    for room in (
        federation,
        outsiders,
        peers,
        auditors,
        bitcoin,
        edges,
        guarded,
        published,
        snapshots,
        wallet,
        records,
    ):
        for target in room.targets():
            assert target.name not in found, target.name
            found[target.name] = target
    return found
