"""`gristmill verify`: what a stranger can check with the ONE federation key.

It starts at once: what a way of checking needs of the edge it imports itself.
"""

from functools import partial
from pathlib import Path
from typing import Any

import click

from bft.errors import DecodeError
from chain.output import JSON, show


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
@click.option("--hex", "digits", help="The certificate itself, instead of a file.")
@click.option("--key", help="The ONE federation key, 192 hex digits.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key in a file: hex digits, or the federation's key record.",
)
@click.option("--chain-id", help="64 hex digits; without it any chain's certificate will do.")
@click.option(
    "--genesis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The genesis record, instead of a key: FILE is a receipt for a request.",
)
@click.option(
    "--from",
    "servers",
    multiple=True,
    metavar="URL",
    help="Follow the chain from certified headers of this replica or node; repeatable.",
)
@click.option("--transaction", metavar="TXID", help="With --from: prove that it is in a block.")
@click.option("--height", type=click.IntRange(1, 2**32 - 1), help="The block of --transaction.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --from: what was proven already, read and written; the next run goes on from there.",
)
@click.option("--follow", is_flag=True, help="With --from: go on until interrupted.")
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The sealed request that the receipt must be for.",
)
@JSON
def verify(
    file: Path | None,
    digits: str | None,
    key: str | None,
    key_file: Path | None,
    chain_id: str | None,
    genesis: Path | None,
    request: Path | None,
    servers: tuple[str, ...],
    transaction: str | None,
    height: int | None,
    state: Path | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Check a certificate, a block, a transaction or the whole chain under the federation key.

    FILE holds a certificate or a block, as bytes or as hex digits.  A block is checked for the
    winner's signature and for all that it shows without its parent.

    With --genesis alone: check the receipt of a request, by the keys of the members.

    With --from URL, --genesis and a key: follow the chain from certified headers alone, believing
    no server.  The certificate of block N + 1 proves block N; a chain whose newest certificate is
    older than two cycles is refused as stale.  docs/INTEROP.md says what this proves.

    \b
    gristmill verify block.bin --key-file federation.key
    gristmill verify --from http://replica:7401 --genesis genesis.bin \\
        --key-file federation.key
    gristmill verify --from http://replica:7401 --genesis genesis.bin \\
        --key-file federation.key --transaction TXID --height 120

    Ends with status 6 if it is false.
    """
    if servers:
        from chain.light.cli import follow_servers, prove_transaction

        if genesis is None or (key is None) == (key_file is None) or file or digits or request:
            raise click.UsageError("--from needs --genesis and one of --key and --key-file only")
        if (transaction is None) != (height is None):
            raise click.UsageError("--transaction and --height go together")
        known = _key(key, key_file)
        if transaction is not None and height is not None:
            prove_transaction(
                servers, genesis, known, transaction, height, partial(show, as_json=as_json)
            )
        else:
            follow_servers(servers, genesis, known, state, follow, partial(show, as_json=as_json))
        return
    if transaction or height or state or follow:
        raise click.UsageError("--transaction, --height, --state and --follow go with --from")
    if (file is None) == (digits is None):
        raise click.UsageError("give either FILE or --hex")
    if (key, key_file, genesis).count(None) != 2:
        raise click.UsageError("give one of --key, --key-file and --genesis")
    data = _bytes_of(digits, "--hex") if digits is not None else _read_either(file)
    if genesis is not None:
        show(_verified_receipt(data, genesis, request), as_json)
    else:
        show(_verified(data, _key(key, key_file), chain_id), as_json)


def _verified_receipt(data: bytes, genesis: Path, request: Path | None) -> dict[str, Any]:
    from bft.crypto.hashing import sha256
    from chain.node.config import load_genesis
    from chain.node.describe import describe_receipt
    from chain.receipts import verify_receipt

    receipt = verify_receipt(data, load_genesis(genesis).membership)
    if request is not None and sha256(request.read_bytes()) != receipt.request:
        raise DecodeError(f"{request}: another request than that of the receipt")
    return {"valid": True, **describe_receipt(receipt)}


def _key(key: str | None, key_file: Path | None) -> bytes:
    from chain.node.config import parse_key, read_key_file

    if key is not None:
        return parse_key(key, "--key")
    assert key_file is not None  # `verify` has seen to it
    return read_key_file(key_file, None)


def _verified(data: bytes, key: bytes, chain_id: str | None) -> dict[str, Any]:
    from chain.node.describe import describe_block, describe_certificate
    from chain.records.block import decode_block
    from chain.records.certificate import CERTIFICATE_BYTES, decode_certificate
    from chain.validation import check_alone, verify_certificate

    found = None if len(data) == CERTIFICATE_BYTES else decode_block(data)
    certificate = data if found is None else found.coinbase.certificate
    claimed = decode_certificate(certificate)[0].chain_id
    expected = claimed if chain_id is None else _bytes_of(chain_id, "--chain-id")
    verified = verify_certificate(certificate, key, expected)
    if found is None:
        return {"valid": True, **describe_certificate(verified)}
    check_alone(found.certified_header)
    return {"valid": True, **describe_block(found)}


def _read_either(file: Path | None) -> bytes:
    from chain.federation.api import BLOCK_BYTES_MAX

    assert file is not None  # `verify` has seen to it
    with file.open("rb") as opened:
        data = opened.read(2 * BLOCK_BYTES_MAX + 2)
    try:
        return bytes.fromhex(data.decode("ascii"))
    except ValueError:
        return data


def _bytes_of(digits: str, option: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise click.BadParameter(f"{option} takes hex digits") from None
