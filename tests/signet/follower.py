"""A follower that we did not write: python-bitcoinlib's messages at a node's P2P port.

Its codec, its network parameters for signet (with the chain's own magic), its check of work, and
its Merkle root.  Only the order of messages is ours: version, verack, getheaders, getdata.
"""

import importlib
import socket
from typing import Any

from tests.patience import PATIENCE_S

PROTOCOL = 70_016
MSG_WITNESS_BLOCK = 2 | 1 << 30
BIP_325_LIMIT = 0x0377AE << 216


def available() -> bool:
    """Whether python-bitcoinlib is installed."""
    try:
        importlib.import_module("bitcoin.messages")
    except ImportError:
        return False
    return True


def follow(endpoint: str, magic: bytes) -> list[bytes]:
    """Hashes (32 bytes) of the blocks after block 0, each fetched and checked by bitcoinlib."""
    bitcoin: Any = importlib.import_module("bitcoin")
    core: Any = importlib.import_module("bitcoin.core")
    messages: Any = importlib.import_module("bitcoin.messages")
    net: Any = importlib.import_module("bitcoin.net")
    bitcoin.SelectParams("signet")
    bitcoin.params.MESSAGE_START = magic
    core.coreparams.PROOF_OF_WORK_LIMIT = BIP_325_LIMIT  # bitcoinlib has that of the main network
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as link:
        stream = link.makefile("rb")

        def hear(kind: type) -> Any:
            while True:
                said = messages.MsgSerializable.stream_deserialize(stream)
                if isinstance(said, messages.msg_ping):
                    link.sendall(messages.msg_pong(nonce=said.nonce).to_bytes())
                if isinstance(said, kind):
                    return said

        version = messages.msg_version()
        version.nVersion = PROTOCOL
        link.sendall(version.to_bytes())
        hear(messages.msg_verack)
        link.sendall(messages.msg_verack().to_bytes())
        chain: list[bytes] = [core.CoreSigNetParams.GENESIS_BLOCK.GetHash()]
        while True:
            link.sendall(_getheaders(messages, chain[-1]))
            headers = hear(messages.msg_headers).headers
            if not headers:
                return chain[1:]
            # One at a time: bitcoinlib does not skip the empty list of transactions behind each.
            header = headers[0]
            assert header.hashPrevBlock == chain[-1], "a header on another block"
            core.CheckBlockHeader(header)
            link.sendall(_getdata(messages, net, header.GetHash()))
            block = hear(messages.msg_block).block
            assert block.GetHash() == header.GetHash(), "another block than its header"
            assert block.calc_merkle_root() == header.hashMerkleRoot, "other transactions"
            chain.append(header.GetHash())


def _getheaders(messages: Any, after: bytes) -> bytes:
    asked = messages.msg_getheaders()
    asked.locator.vHave = [after]
    return bytes(asked.to_bytes())


def _getdata(messages: Any, net: Any, block: bytes) -> bytes:
    wanted = net.CInv()
    wanted.type, wanted.hash = MSG_WITNESS_BLOCK, block
    asked = messages.msg_getdata()
    asked.inv.append(wanted)
    return bytes(asked.to_bytes())
