"""Limits of a cycle that stand in no genesis record: the machine keeps them, the auditor checks.

Pure.
"""

ATTEMPTS = 256
"""Attempts of one phase are counted modulo this: a clock's vote for one never ends the next."""

EXTENSIONS_MAX = 1
"""How often evaluation and aggregation get their time once more before the cycle closes."""

WINDOW_FACTOR = 4
"""A block's time may lie this many rank times after the certification; ordering ends it before."""

FUTURE_S_MAX = 2 * 60 * 60
"""Nodes refuse a block whose time is further ahead of their clocks."""

RECEIPT_BYTES_MAX = 1024
"""A sealed storage receipt in a reveal; a longer one counts as none."""

PROPOSAL_CYCLES = 32
"""A proposed list of members that is not approved so many cycles later is void."""

RESHARING_ATTEMPTS = 4
"""After so many failed attempts at resharing the proposal is void."""

CHUNK_ELEMENTS = 4096
"""Weights of a segment that share one exponent in an update."""
VALUE_BITS_MIN, VALUE_BITS_MAX = 2, 8
"""Bits of one value in a sparse update, its sign among them."""
