"""Vectors of evidence against a winner: docs/PROTOCOL.md, section 7, "Evidence"."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import Refused
from chain.barring import judge
from chain.records.block import build_block, decode_block
from chain.records.contribution import Standing
from chain.records.conviction import ShowEvidence, shown
from chain.records.evidence import equivocation
from chain.records.profile import MAIN, SIGNET, Profile
from tests.vectors.cast import MINERS, PARAMS
from tests.vectors.signatures import CERTIFICATE, CHAIN_ID, FEDERATION_KEY, certified

WINNER = MINERS[3]
NOBODY: Mapping[bytes, Standing] = {}


def evidence() -> dict[str, Any]:
    """What the winner signed, twice; the leaf that follows; what bars nobody, with the word."""
    good = _shown(MAIN)
    first = good.first
    long_barred = Standing(
        units=0, segment=0, cycle=8, barred_until=CERTIFICATE.cycle + 1 + PARAMS.barred_cycles
    )
    last = CERTIFICATE.cycle + PARAMS.barred_cycles
    held = {WINNER.public_key: long_barred}
    unsigned = replace(good, certificate=good.certificate[:-48] + good.certificate[-48:][::-1])
    refused = [
        (_refused(good, CERTIFICATE.cycle - 1), CERTIFICATE.cycle - 1, NOBODY, good),
        (_refused(good, last), last, NOBODY, good),
        (_refused(good, CERTIFICATE.cycle, held), CERTIFICATE.cycle, held, good),
    ]
    for wrong in (
        replace(good, second=first),
        replace(good, second=replace(good.second, reward=1)),
        replace(good, second=replace(good.second, branch=(sha256(b"sibling"),))),
        replace(good, second=replace(good.second, slot=1)),
        unsigned,
    ):
        refused.append((_refused(wrong, CERTIFICATE.cycle), CERTIFICATE.cycle, NOBODY, wrong))
    return {
        "federation_key": FEDERATION_KEY,
        "chain_id": CHAIN_ID,
        "barred_cycles": PARAMS.barred_cycles,
        "winner": WINNER.public_key,
        "accepted": [_accepted(good), _accepted(_shown(SIGNET))],
        "refused": [
            {
                "why": why,
                "cycle": cycle,
                "barred_until": max((each.barred_until for each in standings.values()), default=0),
                "operation": encode(said),
            }
            for why, cycle, standings, said in refused
        ],
    }


def _shown(profile: Profile) -> ShowEvidence:
    twins = (
        build_block(
            certified(CERTIFICATE),
            time=CERTIFICATE.not_before + late_s,
            subsidy=5_000 + late_s,
            sign=WINNER.sign,
            winner=WINNER.public_key,
            profile=profile,
        )
        for late_s in (0, 1)
    )
    return shown(equivocation(*(decode_block(twin).certified_header for twin in twins)))


def _accepted(said: ShowEvidence) -> dict[str, Any]:
    leaf = _judge(said, CERTIFICATE.cycle, NOBODY)
    return {"fields": said, "operation": encode(said), "leaf": leaf, "leaf_body": encode(leaf)}


def _judge(said: ShowEvidence, cycle: int, standings: Mapping[bytes, Standing]) -> Any:
    return judge(
        said,
        federation_key=FEDERATION_KEY,
        chain_id=CHAIN_ID,
        cycle=cycle,
        standings=standings,
        params=PARAMS,
    )


def _refused(said: ShowEvidence, cycle: int, standings: Mapping[bytes, Standing] = NOBODY) -> str:
    """The word of the refusal."""
    try:
        _judge(said, cycle, standings)
    except Refused as error:
        return error.code
    raise AssertionError("this is evidence")
