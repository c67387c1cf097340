"""Which of Bitcoin's script rules hold.

Source: Bitcoin Core, script/interpreter.h (SCRIPT_VERIFY_*) and policy/policy.h.
Pure.
"""

from enum import IntFlag, auto


class Flag(IntFlag):
    """One rule each; without any, scripts run as in 2009."""

    P2SH = auto()
    STRICTENC = auto()
    DERSIG = auto()
    LOW_S = auto()
    NULLDUMMY = auto()
    SIGPUSHONLY = auto()
    MINIMALDATA = auto()
    DISCOURAGE_UPGRADABLE_NOPS = auto()
    CLEANSTACK = auto()
    CHECKLOCKTIMEVERIFY = auto()
    CHECKSEQUENCEVERIFY = auto()
    WITNESS = auto()
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = auto()
    MINIMALIF = auto()
    NULLFAIL = auto()
    WITNESS_PUBKEYTYPE = auto()
    CONST_SCRIPTCODE = auto()


CONSENSUS = (
    Flag.P2SH
    | Flag.DERSIG
    | Flag.NULLDUMMY
    | Flag.CHECKLOCKTIMEVERIFY
    | Flag.CHECKSEQUENCEVERIFY
    | Flag.WITNESS
)
"""What a block must keep.  Witness versions from 1 on (Taproot) are not given a meaning here."""

POLICY = (
    CONSENSUS
    | Flag.STRICTENC
    | Flag.LOW_S
    | Flag.MINIMALDATA
    | Flag.DISCOURAGE_UPGRADABLE_NOPS
    | Flag.CLEANSTACK
    | Flag.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
    | Flag.MINIMALIF
    | Flag.NULLFAIL
    | Flag.WITNESS_PUBKEYTYPE
    | Flag.CONST_SCRIPTCODE
)
"""What a mempool asks for beyond consensus: nothing that a third party could alter, nothing that a
later rule may give a meaning."""
