"""`gristmill wallet` as people use it, against a real node: rewards, payments, PSBTs, restoring."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mnemonic import Mnemonic

from bft.codec.canonical import encode
from bft.crypto import bls
from chain.bitcoin.ledger import COINBASE_MATURITY
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.node.service import NodeService
from chain.validation import ParentView
from chain.wallet.home import alone
from chain.wallet.sealed import Cost, seal_secrets
from gristmill import exits
from gristmill.cli import main
from tests.chain.federation_fixture import (
    FEDERATION_KEY,
    GENESIS,
    OTHER,
    WINNER,
    block_on,
    finality_of,
    view_of,
)
from tests.chain.node.test_rpc import Client, served
from tests.chain.test_spending import PARENT

pytestmark = pytest.mark.integration
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase that costs no 128 MiB each time."""
    monkeypatch.setattr(
        "chain.wallet.commands.seal_secrets",
        lambda plain, word: seal_secrets(plain, word, Cost(n_log2=4)),
    )


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[NodeService, Client]]:
    async with served(tmp_path / "node") as found:
        yield found


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """run(home, command, ...): the data; or the exit status, if the command fails."""
    (tmp_path / "passphrase").write_text("sesame\n")

    async def go(home: str, *args: str, sealed: bool = False) -> Any:
        more = ("--passphrase-file", str(tmp_path / "passphrase")) if sealed else ()
        where = ("--home", str(tmp_path / home)) if home else ()
        capsys.readouterr()
        status = await asyncio.to_thread(main, ["wallet", *args, *where, *more, "--json"])
        told = json.loads(capsys.readouterr().out)
        return told["data"] if status == exits.OK else status

    return go


class Mill:
    """Makes the next final blocks, with what waits at the node."""

    def __init__(self, service: NodeService) -> None:
        self._service, self._parent = service, PARENT

    def grind(self, times: int = 1) -> ParentView:
        for _ in range(times):
            chosen, fees = self._service.core.gossip.relay.pool.select(10**6)
            # Later rewards are not this wallet's, so that sums stay plain.
            block = block_on(self._parent, miner=OTHER, reward=fees, transactions=chosen)
            self._service.step(BlockSubmitted(data=block.data))
            self._service.step(FinalitySubmitted(finality=finality_of(block)))
            self._parent = view_of(block)
        return self._parent


async def test_a_miners_rewards_are_paid_on_and_come_back(
    tmp_path: Path, node: tuple[NodeService, Client], run: Run
) -> None:
    service, client = node
    mill, look = Mill(service), ("--node", client.url)
    pay = (*look, "--cookie", str(tmp_path / "node" / ".cookie"))
    key = tmp_path / "identity.key"
    key.write_text(WINNER.secret.hex() + "\n")
    made = await run("alice", "init", sealed=True)
    assert len(made["words"].split()) == 24
    assert await run("alice", "init", sealed=True) == exits.CONFIG
    assert (await run("bob", "init", "--count", "12", sealed=True))["words"].count(" ") == 11
    told = await run("alice", "add-key", str(key), sealed=True)
    assert told["address"].startswith("gr1")
    assert await run("alice", "add-key", str(key), sealed=True) == exits.CONFIG

    told = await run("alice", "balance", *look)
    assert Decimal(told["spendable"]) == 50
    assert Decimal(told["immature"]) == 50 * (COINBASE_MATURITY - 1)
    to = (await run("bob", "address"))["address"]
    assert (await run("bob", "address"))["address"] != to
    assert await run("alice", "send", to, "50", *pay, sealed=True) == exits.REFUSED
    dry = await run("alice", "send", to, "12.5", *pay, "--dry-run", sealed=True)
    assert dry["sent"] is False
    assert await client.call("getrawmempool") == []
    sent = await run("alice", "send", to, "12.5", *pay, sealed=True)
    assert await client.call("getrawmempool") == [sent["txid"]]
    assert Decimal(sent["change"]) + Decimal(sent["fee"]) + Decimal("12.5") == 50
    told = await run("alice", "balance", *look)
    assert (Decimal(told["spendable"]), told["returning"]) == (0, sent["change"])

    better = await run("alice", "bump", sent["txid"], "--fee-rate", "9", *pay, sealed=True)
    assert await client.call("getrawmempool") == [better["txid"]]
    assert Decimal(better["fee"]) > Decimal(sent["fee"])
    mill.grind()
    assert Decimal((await run("bob", "balance", *look))["spendable"]) == Decimal("12.5")
    told = await run("alice", "history", *look)
    assert told["waiting"] == []
    paid = [line for line in told["history"] if line["kind"] == "payment"]
    assert [(line["txid"], line["fee"]) for line in paid] == [(better["txid"], better["fee"])]
    assert Decimal(paid[0]["amount"]) == -Decimal("12.5") - Decimal(better["fee"])
    assert await run("alice", "bump", sent["txid"], "--fee-rate", "20", *pay, sealed=True) == (
        exits.REFUSED
    )
    (coin,) = (await run("bob", "coins", *look))["coins"]
    assert (coin["address"], coin["spendable"]) == (to, True)


async def test_words_and_backup_restore_and_a_watcher_prepares_what_another_signs(
    tmp_path: Path, node: tuple[NodeService, Client], run: Run
) -> None:
    service, client = node
    mill, look = Mill(service), ("--node", client.url)
    pay = (*look, "--cookie", str(tmp_path / "node" / ".cookie"))
    key = tmp_path / "identity.key"
    key.write_text(WINNER.secret.hex())
    await run("alice", "init", sealed=True)
    await run("alice", "add-key", str(key), sealed=True)
    words = (await run("bob", "init", sealed=True))["words"]
    for amount in ("5", "7"):
        to = (await run("bob", "address"))["address"]
        assert (await run("alice", "send", to, amount, *pay, sealed=True))["sent"]
        mill.grind()

    (tmp_path / "words").write_text(words)
    await run("again", "restore", "--words-file", str(tmp_path / "words"), sealed=True)
    saved = await run("bob", "backup", str(tmp_path / "bob.backup"))
    assert saved["secrets"] is True
    await run("third", "restore", "--backup", str(tmp_path / "bob.backup"))
    public = (await run("bob", "descriptor"))["descriptor"]
    await run("watch", "watch", public)
    for home in ("bob", "again", "third", "watch"):
        assert Decimal((await run(home, "balance", *look))["spendable"]) == 12, home
    *most, last = words.split()
    known = Mnemonic("english").wordlist
    swapped = known[known.index(last) ^ 1]  # its last bits are the checksum: never right
    (tmp_path / "words").write_text(" ".join((*most, swapped)))
    wrong = ("restore", "--words-file", str(tmp_path / "words"))
    assert await run("wrong", *wrong, sealed=True) == exits.VERIFICATION_FAILED

    back = (await run("alice", "address"))["address"]
    assert await run("watch", "send", back, "1", *pay, sealed=True) == exits.CONFIG
    psbt = await run("watch", "psbt", "create", back, "11", *look)
    (tmp_path / "psbt").write_text(psbt["psbt"])
    shown = await run("", "psbt", "show", str(tmp_path / "psbt"))
    assert (shown["inputs"], shown["signatures"], shown["complete"]) == (2, 0, False)
    assert Decimal(shown["outputs"][0]["amount"]) == 11
    assert shown["fee"] == psbt["fee"]
    assert await run("watch", "psbt", "send", str(tmp_path / "psbt"), *pay) == exits.REFUSED
    strangers = await run("alice", "psbt", "sign", str(tmp_path / "psbt"), sealed=True)
    assert strangers["signatures_added"] == 0
    signed = await run("third", "psbt", "sign", str(tmp_path / "psbt"), sealed=True)
    assert signed["signatures_added"] == 2
    (tmp_path / "signed").write_text(signed["psbt"])
    both = await run("", "psbt", "combine", str(tmp_path / "psbt"), str(tmp_path / "signed"))
    (tmp_path / "both").write_text(both["psbt"])
    final = await run("", "psbt", "finalize", str(tmp_path / "both"))
    assert final["complete"] is True
    (tmp_path / "final").write_text(final["psbt"])
    made = await run("", "psbt", "extract", str(tmp_path / "final"))
    sent = await run("watch", "psbt", "send", str(tmp_path / "signed"), *pay)
    assert sent["txid"] == made["txid"] == shown["txid"]
    mill.grind()
    left = Decimal((await run("watch", "balance", *look))["spendable"])
    assert left == 1 - Decimal(psbt["fee"])
    swept = await run("third", "send", back, "all", *pay, sealed=True)
    assert Decimal(swept["amount"]) == left - Decimal(swept["fee"])
    await run("again", "rescan")
    mill.grind()
    assert Decimal((await run("again", "balance", *look))["spendable"]) == 0


async def test_a_pinned_wallet_believes_no_server(
    tmp_path: Path, node: tuple[NodeService, Client], run: Run
) -> None:
    service, client = node
    look = ("--node", client.url)
    (tmp_path / "identity.key").write_text(WINNER.secret.hex())
    (tmp_path / "genesis.bin").write_bytes(encode(GENESIS))
    genesis = ("pin", "--genesis", str(tmp_path / "genesis.bin"), "--key")
    await run("alice", "init", sealed=True)
    await run("alice", "add-key", str(tmp_path / "identity.key"), sealed=True)
    told = await run("alice", *genesis, FEDERATION_KEY.hex())
    assert told["chain_id"] == GENESIS.chain_id.hex()
    told = await run("alice", "balance", *look)
    assert told["height"] == PARENT.height - 1  # the federation's word on the newest is not there
    mined = Mill(service).grind()
    assert (await run("alice", "balance", *look))["height"] == mined.height
    await run("alice", *genesis, bls.public_key(7).hex())
    assert await run("alice", "balance", *look) == exits.VERIFICATION_FAILED
    assert await run("alice", *genesis[:-1]) == exits.USAGE


async def test_what_goes_wrong_is_said(
    tmp_path: Path, node: tuple[NodeService, Client], run: Run
) -> None:
    _, client = node
    look = ("--node", client.url)
    pay = (*look, "--cookie", str(tmp_path / "node" / ".cookie"))
    await run("bob", "init", sealed=True)
    to = (await run("bob", "address"))["address"]
    assert await run("none", "balance", *look) == exits.CONFIG
    with alone(tmp_path / "bob"):
        assert await run("bob", "address") == exits.RETRY
    assert await run("bob", "balance", "--node", "http://127.0.0.1:1") == exits.UNAVAILABLE
    assert await run("bob", "send", "bc1qqq", "1", *pay, sealed=True) == exits.VERIFICATION_FAILED
    assert await run("bob", "send", to, "x", *pay, sealed=True) == exits.CONFIG
    assert await run("bob", "send", to, "1", *pay, sealed=True) == exits.REFUSED
    assert await run("bob", "bump", "zz", "--fee-rate", "2", *pay, sealed=True) == exits.REFUSED
    assert await run("w", "watch", "xpub") == exits.VERIFICATION_FAILED
    (tmp_path / "passphrase").write_text("wrong")
    (tmp_path / "key").write_text("11" * 32)
    assert await run("bob", "add-key", str(tmp_path / "key"), sealed=True) == exits.CONFIG
    (tmp_path / "key").write_text("11" * 31)
    assert await run("bob", "add-key", str(tmp_path / "key"), sealed=True) == exits.CONFIG
    (tmp_path / "psbt").write_text("cHNi")
    assert await run("", "psbt", "show", str(tmp_path / "psbt")) == exits.VERIFICATION_FAILED
