"""Faults planted in how nodes find each other, and in their guards against being cut off."""

from tests.mutants.mutant import Mutant

BOOK = ("tests/chain/peers/test_book.py",)
EXCHANGE = ("tests/chain/peers/test_exchange.py",)
FINDING = ("tests/chain/peers/test_finding.py",)
SLOTS = ("tests/chain/peers/test_slots.py",)

PEERS = (
    Mutant(
        "a-bucket-for-each-address",
        "one netgroup that tells of addresses fills few buckets",
        BOOK,
        ("chain/peers/book.py", "source = entry.source_group\n", "source = entry.address.key\n"),
    ),
    Mutant(
        "latecomers-push-out",
        "who stands in the address book stays until it is of no use",
        BOOK,
        (
            "chain/peers/book.py",
            "            if not holder.is_terrible(now_s):\n",
            "            if False:\n",
        ),
    ),
    Mutant(
        "netgroups-ignored",
        "one automatic peer in each netgroup",
        FINDING,
        ("chain/peers/outbound.py", "entry.address.group not in groups", "True"),
    ),
    Mutant(
        "addresses-without-rate",
        "a peer's addresses are looked at at a rate",
        EXCHANGE,
        (
            "chain/peers/exchange.py",
            "            if not talk.spend(now_ms):\n",
            "            if False:\n",
        ),
    ),
    Mutant(
        "getaddr-for-everybody",
        "getaddr is answered to those who dialled us",
        EXCHANGE,
        ("chain/peers/exchange.py", "if peer.kind is not Connection.INBOUND:", "if False:"),
    ),
    Mutant(
        "inside-from-outside",
        "nobody outside sends us to addresses inside",
        EXCHANGE,
        (
            "chain/peers/exchange.py",
            "inside = self._private and source.scope is not Scope.PUBLIC",
            "inside = self._private",
        ),
    ),
    Mutant(
        "block-only-peers-relay",
        "block-only peers hear of no transactions",
        SLOTS,
        (
            "chain/peers/handshake.py",
            "relay=peer.kind not in (Connection.BLOCK_ONLY, Connection.FEELER)",
            "relay=True",
        ),
    ),
    Mutant(
        "the-oldest-go",
        "who is here for long keeps an inbound place",
        SLOTS,
        ("chain/peers/eviction.py", "[len(left) // 2 :]", "[: len(left) // 2]"),
    ),
    Mutant(
        "anchors-forgotten",
        "block-only peers of a clean end are dialled first",
        FINDING,
        ("chain/peers/outbound.py", "while self._anchors:", "while False:"),
    ),
    Mutant(
        "pruned-peers-asked-for-all",
        "a pruned peer is asked for the newest blocks alone",
        SLOTS,
        ("chain/peer.py", "self.height - LIMITED_BLOCKS if limited", "0 if limited"),
    ),
)
