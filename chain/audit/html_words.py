"""What the report for people says in plain words, and how it looks.

Pure: text.  docs/AUDITING.md has the exact rules; docs/GLOSSARY.md the exact terms.
"""

STYLE = """
:root { color-scheme: light dark; --line: #ddd; --soft: #f4f4f4; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1b1b1b; background: #fff; }
main { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; font-weight: 600; font-size: 1.1rem; }
.passed { border-color: #1a7f37; background: #eaf6ec; }
.accused { border-color: #9a6700; background: #fff8e5; }
.failed { border-color: #b42318; background: #fdeceb; }
.finding { border-left: .3rem solid #9a6700; padding: .4rem 0 .4rem .8rem; margin: .8rem 0;
  break-inside: avoid; overflow-wrap: anywhere; }
.broken { border-color: #b42318; }
.finding p { margin: .2rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .6rem 0; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid var(--line); }
.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .85em; overflow-wrap: anywhere; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .4rem 0; } summary { cursor: pointer; padding: .2rem 0; overflow-wrap: anywhere; }
details > :not(summary) { margin-left: 1rem; }
.wide { overflow-x: auto; }
@media (max-width: 40rem) { details > :not(summary) { margin-left: .3rem; } }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #161616; }
  :root { --line: #333; --soft: #222; }
  .passed { background: #12301a; } .accused { background: #33280a; }
  .failed { background: #3a1512; } }
@media print { main { max-width: none; margin: 0; } summary { list-style: none; } }
"""

MEANINGS = {
    # Accusations.
    "evaluation": "What it measured lies farther from the others' measurements than can happen "
    "honestly. A lie looks like that, and so do a broken machine or untested software: ask its "
    "operator.",
    "bad-share": "Its part of a common signature does not fit the key that it holds. A replica "
    "that works does not sign that.",
    "snapshot": "It voted for another model than the one that a strong quorum computed, bit for "
    "bit. A replica that works does not sign that.",
    "block-header": "It voted for a block whose header no block of this chain can have: another "
    "form, or too little work. A replica that works does not sign that.",
    "dkg-void-dealing": "What it contributed to the making of the common key proves nothing. A "
    "replica that works does not sign that.",
    "dkg-bad-share": "While the common key was made it sent a wrong part to another replica. A "
    "replica that works does not do that.",
    "dkg-false-complaint": "While the common key was made it complained about a part that was "
    "right. A replica that works does not do that.",
    # What fails an audit.
    "entry": "An entry cannot be read: this copy is damaged, or the federation runs newer "
    "software than this auditor. Update gristmill and audit again before you tell anybody.",
    "leaf": "A result cannot be read: this copy is damaged, or the federation runs newer "
    "software than this auditor. Update gristmill and audit again before you tell anybody.",
    "index": "Entries were left out of this copy, or put into another order.",
    "missing": "A result that the rules call for was left out.",
    "extra": "A result stands here that the rules do not call for.",
    "end": "The copy ends in the middle of a step.",
    "proof": "Not enough replicas signed what stands here.",
    "sequence": "Something that was ordered has been left out of this copy.",
    "request": "Somebody's signed word was altered, or put into their mouth.",
    "log-root": "The federation signed another history than the one in this copy.",
    "checkpoint": "The signed summary that came with the copy does not fit it.",
    "tile": "The published hashes do not fit the published entries.",
    "split-view": "Two servers show different histories of one federation. Keep both copies: one "
    "of the servers lies, or more replicas do than the rules tolerate.",
    "rewritten": "The log is another one than what you audited before. Keep both copies.",
    "shorter": "The server shows less than what you audited before.",
    "chain": "The blocks of the chain and the final blocks of the log are not the same. One of the "
    "two copies is wrong, or more replicas lie than the rules tolerate: keep both.",
    "stale": "Nothing newer was signed for longer than you allow. Newer entries may be hidden.",
    "drawn": "The draw's outcome is not the one that its numbers give.",
    "scored": "Scores are not the ones that the signed measurements give.",
}
DEFAULT_MEANING = "What stands here is not what the rules give from the signed entries before it."

ENDINGS = {
    None: "it was not over when the copy ends",
    "block": "it ended with a block",
    "no-miners": "it ended without a block: no miner came",
    "no-reveals": "it ended without a block: no miner delivered",
    "no-quorum-of-tables": "it ended without a block: too few replicas measured",
    "no-tickets": "it ended without a block: nobody's work was worth a ticket",
    "no-snapshot": "it ended without a block: the replicas did not agree on a model",
    "no-block": "it ended without a block: none of those who were drawn made one in time",
}

COLUMNS = {
    "valid": "usable",
    "gain": "gain",
    "advantage": "own-data test",
    "norm": "size",
    "replay": "likeness",
}
"""Columns of a cycle's scores, by the field that replicas measure."""

WORDS = (
    ("federation", "the companies or people that run this chain together, and their common key"),
    (
        "replica",
        "one member's server. Of 3f + 1 replicas, f may fail or lie without any result being "
        "changed",
    ),
    ("miner", "somebody who trains a part of the model, and may win the right to make a block"),
    ("log", "the list of everything that was said, decided and signed, in one order"),
    ("entry", "one line of the log; a batch is what the replicas put into order with one vote"),
    ("cycle", "one round: work is given out, done, measured, paid by a draw, and put into a block"),
    ("unit", "one piece of work: one part (segment) of the model, trained on one part of the data"),
    ("gain", "how much smaller the model's error became by this unit, in nats, on data that the "
     "miner did not have"),
    ("nat", "the unit in which the error of a model is told; less is better"),
    ("own-data test", "between -1 and 1: whether the unit helps more on the very data that was "
     "assigned than on other data. About 0 for work that was not done"),
    ("size", "how large the change is that the unit makes to the model; too large ones are scaled "
     "down"),
    ("likeness", "only of units that replicas trained again to compare: 1 is the same result"),
    ("median", "the middle one of what the replicas measured. A few liars cannot move it beyond "
     "what honest replicas measured"),
    ("tickets", "chances in the draw, earned by measured work"),
    ("beacon", "a common signature that yields a random number which nobody can choose or know "
     "early"),
    ("certificate", "the federation's signature on who may make the block of a cycle"),
    ("checkpoint", "a signed note that says how long the log is, and the digest (root) of all of "
     "it"),
)  # fmt: skip
