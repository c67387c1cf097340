"""`python -m tests.docs.rich DIR`: a node's home, and keys that own mature rewards on its chain.

The pages about paying need coins that are 100 blocks old.  DIR gets `node` (a real store of 106
certified blocks), `genesis.bin` and `federation.key` of that chain, `rich` (the home of the miner
that won every second block, its key also as `miner/identity.key`), `words` (a wallet's, whose first
address got the other rewards), `passphrase`, and `to`, a stranger's address.
"""

import sys
from pathlib import Path

from bft.codec.canonical import encode
from chain.bitcoin.address import GRISTMILL, encode_address
from chain.bitcoin.ledger import COINBASE_MATURITY
from chain.gossip_events import SaveBlock, SaveFinal
from chain.node.config import NodeConfig, save_config
from chain.node.store import Store
from chain.records.coinbase import pay_to_key
from chain.wallet.account import ACCOUNT_PATH
from chain.wallet.hdkey import master_key
from chain.wallet.words import seed_of, words_of
from miner.config import create_home
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    OTHER,
    START,
    WINNER,
    block_on,
    view_of,
)

WORDS = words_of(bytes(range(16)))
BLOCKS = COINBASE_MATURITY + 6


def main(root: Path) -> None:
    """Write it all."""
    owner = master_key(seed_of(WORDS)).derive((*ACCOUNT_PATH, 0, 0)).public
    home = root / "node"
    home.mkdir()
    (root / "genesis.bin").write_bytes(encode(GENESIS))
    (root / "federation.key").write_text(FEDERATION_KEY.hex())
    config = NodeConfig(
        genesis=str(root / "genesis.bin"), home=str(home), federation_key=FEDERATION_KEY.hex()
    )
    save_config(config)
    store, parent = Store(config.database, CHAIN_ID, START), START
    for number in range(BLOCKS):
        block = block_on(parent, payee=owner if number % 2 else WINNER.public_key)
        parent = view_of(block)
        store.save([SaveBlock(block=block), SaveFinal(view=parent)])
    store.close()
    create_home(root / "rich", GENESIS)
    secret = WINNER.secret.hex() + "\n"
    (root / "rich" / "identity.key").write_text(secret)
    (root / "miner").mkdir()
    (root / "miner" / "identity.key").write_text(secret)
    (root / "words").write_text(WORDS + "\n")
    (root / "passphrase").write_text("sesame\n")
    (root / "to").write_text(encode_address(pay_to_key(OTHER.public_key), GRISTMILL) or "")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
