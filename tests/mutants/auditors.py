"""Faults planted in what an auditor keeps between two audits, and in its look at the chain."""

from tests.mutants.mutant import Mutant

BOOKMARK = ("tests/chain/audit/test_bookmark.py",)
HOME = ("tests/chain/audit/test_home.py",)
BLOCKS = ("tests/chain/audit/test_blocks.py",)

AUDITORS = (
    Mutant(
        "bookmark-forgets-clients",
        "a request that was executed before the bookmark is not executed again",
        BOOKMARK,
        (
            "chain/audit/replay.py",
            "        self._fold.window = RequestWindow((each.client, each.cseqs) for each in "
            "walk.executed)\n",
            "        self._fold.window = RequestWindow()\n",
        ),
    ),
    Mutant(
        "bookmark-of-another-root",
        "a bookmark's hashes lead to its root",
        BOOKMARK,
        (
            "chain/audit/replay.py",
            "        if newest is None or newest.root() != bookmark.root:\n",
            "        if newest is None:\n",
        ),
    ),
    Mutant(
        "bookmark-in-any-order",
        "equal states have one encoding",
        BOOKMARK,
        (
            "chain/audit/bookmark.py",
            "    if _encoder.encode(_ordered(bookmark)) != body:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "bookmark-of-any-release",
        "what another release wrote is replayed",
        HOME,
        (
            "chain/audit/bookmark_file.py",
            "        elif written != release():\n",
            "        elif False:\n",
        ),
    ),
    Mutant(
        "another-entry-before-the-new-ones",
        "the entry before the new ones is the one that is known",
        HOME,
        (
            "chain/audit/onward.py",
            "        elif entry_hash(leaf_of(again)) != last:\n",
            "        elif False:\n",
        ),
    ),
    Mutant(
        "a-file-with-another-past",
        "what was seen of a file is hashed again",
        HOME,
        (
            "chain/audit/onward.py",
            "                if frontier.size == seen.size and frontier.root() != seen.root:\n",
            "                if False:\n",
        ),
    ),
    Mutant(
        "nonsense-is-kept",
        "entries that do not follow are fetched again",
        HOME,
        ("chain/audit/run.py", "            if wrong:\n", "            if False:\n"),
    ),
    Mutant(
        "any-block-of-the-chain",
        "the log's final block stands on the chain",
        BLOCKS,
        (
            "chain/audit/blocks.py",
            "        if header is not None and header.hash == books.tip_hash:\n",
            "        if header is not None:\n",
        ),
    ),
    Mutant(
        "certificate-of-another-log",
        "a certificate on the chain names this log's root",
        BLOCKS,
        (
            "chain/audit/blocks.py",
            "        if root is not None and root != certificate.log_root:\n",
            "        if False:\n",
        ),
    ),
)
