"""A miner's score rows with their proofs, as replicas serve them: read, then verified.

Nothing of it has to be believed: each row is proven under the certificate that the federation
signed.  That no row is missing follows from the scores that f + 1 replicas give alike.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from bft.codec.canonical import encode
from bft.errors import DecodeError
from chain.federation import api
from chain.federation.answers import read_json
from chain.federation.client import FederationClient
from chain.records.certificate import BlockCertificate
from chain.records.evaluation import UNITS_MAX, ScoreRow
from chain.validation import CONTRIBUTION_PROOF_MAX, verify_contribution

CONTRIBUTION_JSON_BYTES_MAX = 8 * 1024 * 1024


class ProvenRow(NamedTuple):
    """A score row and where it stands."""

    place: int  # among the cycle's rows
    row: ScoreRow
    proof: tuple[bytes, ...]  # sibling hashes from the leaf upwards


async def fetch_contribution(
    client: FederationClient, expected: Sequence[ScoreRow], certificate: BlockCertificate
) -> tuple[int, tuple[ProvenRow, ...]]:
    """As `read_contribution`, from the first replica whose answer is proven.

    Args:
        expected: one miner's rows, at least one.

    Raises:
        Unavailable: no replica gave proofs that hold.
    """
    path = api.CONTRIBUTION.format(cycle=certificate.cycle, miner=expected[0].miner.hex())
    return await client.proven(
        path,
        CONTRIBUTION_JSON_BYTES_MAX,
        lambda url, body: read_contribution(url, body, expected, certificate),
    )


class _Row(msgspec.Struct):
    index: Annotated[int, Meta(ge=0)]
    row: str
    proof: Annotated[tuple[str, ...], Meta(max_length=CONTRIBUTION_PROOF_MAX)]


class _Contribution(msgspec.Struct):
    size: Annotated[int, Meta(ge=0, le=UNITS_MAX)]
    rows: Annotated[tuple[_Row, ...], Meta(max_length=UNITS_MAX)]


def read_contribution(
    url: str, body: bytes, expected: Sequence[ScoreRow], certificate: BlockCertificate
) -> tuple[int, tuple[ProvenRow, ...]]:
    """Of how many rows the proofs are, and the proven ones, which are exactly `expected`.

    Args:
        certificate: verified.

    Raises:
        DecodeError: malformed, other rows, or a proof that does not hold.
        Refused: "other-cycle".
    """
    answer = read_json(_Contribution, url, body)
    proven = []
    try:
        for given in answer.rows:
            data = bytes.fromhex(given.row)
            proof = tuple(bytes.fromhex(sibling) for sibling in given.proof)
            row = verify_contribution(data, given.index, answer.size, proof, certificate)
            proven.append(ProvenRow(given.index, row, proof))
    except ValueError:
        raise DecodeError(f"{url}: a row or a proof is not hex") from None
    if [encode(each.row) for each in proven] != [encode(row) for row in expected]:
        raise DecodeError(f"{url}: {len(proven)} rows came; others are in the scores")
    return answer.size, tuple(proven)
