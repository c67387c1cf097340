"""Readers of Bitcoin's forms: scripts, addresses, transactions at a node's door, JSON-RPC."""

from chain.bitcoin.address import GRISTMILL, decode_address, decode_secret
from chain.bitcoin.script import decode_number, encode_number
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.text import describe_script
from chain.bitcoin.verify import verify_input
from chain.node.rpc import Rpc
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.relay import decode_submitted
from tests.chain.bitcoin.regtest import LOCKED, TEMPLATES, TWO_OF_THREE, WAITING
from tests.fuzz.target import Target

ADDRESSES = (b"gr1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysn9rflq5", b"SMJ12qn9jNCCXJnTYRz5Yu9ZenERqvYwfg")
SECRET = b"RZHd6cPcsQyfTqT5GzsoexcQx2mDQRNtUJTjbvsGNarmPKJZBLtQ"  # of the scalar 0101...


def _script(data: bytes) -> None:
    """The first byte says how much of the rest spends, and whether there is a witness."""
    cut = data[0] & 0x7F if data else 0
    witness = (data[1:], data[1:]) if data and data[0] & 0x80 else ()
    entry = TxIn(previous=bytes(32), index=0, script=data[1 : 1 + cut], witness=witness)
    output = TxOut(value=1, script=data[1 + cut :])
    transaction = Transaction(version=2, inputs=(entry,), outputs=(output,), locktime=0)
    describe_script(output.script, GRISTMILL)
    verify_input(SignatureHasher(transaction), 0, output)


def _address(data: bytes) -> None:
    decode_address(data.decode("latin-1"), GRISTMILL)


def _secret(data: bytes) -> None:
    decode_secret(data.decode("latin-1"), GRISTMILL)


def _rpc(data: bytes) -> None:
    Rpc("user:password", {"add": lambda one, two=1: one, "now": lambda: 1}).answer(data)


def targets() -> list[Target]:
    """All of them."""
    call = b'{"jsonrpc": "2.0", "id": 1, "method": "add", "params": [1, {"x": null}]}'
    named = b'[{"id": "x", "method": "add", "params": {"one": 1}}, {"method": "now"}]'
    whole = Transaction(
        version=2,
        inputs=(TxIn(previous=bytes(32), index=0, script=b"\x51", witness=(b"x",)),),
        outputs=(TxOut(value=1, script=TEMPLATES[0]),),
        locktime=0,
    ).encode()
    true = b"\x01\x51"  # spends with OP_1 what asks for nothing
    scripts = tuple(b"\x00" + each for each in (*TEMPLATES, TWO_OF_THREE, LOCKED, WAITING))
    return [
        Target(
            name="script-number",
            read=lambda data: encode_number(decode_number(data, minimal=True)),
            samples=(b"", b"\x7f", b"\xff\x80", b"\x01\x02\x03\x84"),
            covers=("chain.bitcoin.script:decode_number",),
        ),
        Target(name="script", read=_script, samples=(true, true + b"\x61", *scripts)),
        Target(name="coin-address", read=_address, samples=ADDRESSES),
        Target(name="exported-key", read=_secret, samples=(SECRET,)),
        Target(
            name="submitted-transaction",
            read=lambda data: decode_submitted(data).encode(),
            samples=(whole,),
            covers=("chain.relay:decode_submitted",),
        ),
        Target(name="json-rpc", read=_rpc, samples=(call, named)),
    ]
