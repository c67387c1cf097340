"""Bitcoin's script opcodes by name.

Source: Bitcoin Core, script/script.h.
Pure.
"""

from enum import IntEnum


class Op(IntEnum):
    """What a byte of a script means; 0x01 to 0x4b push as many bytes and have no name."""

    PUSH_0 = 0x00
    PUSHDATA1 = 0x4C
    PUSHDATA2 = 0x4D
    PUSHDATA4 = 0x4E
    NEGATE_1 = 0x4F  # OP_1NEGATE
    RESERVED = 0x50
    PUSH_1 = 0x51
    PUSH_16 = 0x60
    NOP = 0x61
    VER = 0x62
    IF = 0x63
    NOTIF = 0x64
    VERIF = 0x65
    VERNOTIF = 0x66
    ELSE = 0x67
    ENDIF = 0x68
    VERIFY = 0x69
    RETURN = 0x6A
    TOALTSTACK = 0x6B
    FROMALTSTACK = 0x6C
    DROP_2 = 0x6D
    DUP_2 = 0x6E
    DUP_3 = 0x6F
    OVER_2 = 0x70
    ROT_2 = 0x71
    SWAP_2 = 0x72
    IFDUP = 0x73
    DEPTH = 0x74
    DROP = 0x75
    DUP = 0x76
    NIP = 0x77
    OVER = 0x78
    PICK = 0x79
    ROLL = 0x7A
    ROT = 0x7B
    SWAP = 0x7C
    TUCK = 0x7D
    CAT = 0x7E
    SUBSTR = 0x7F
    LEFT = 0x80
    RIGHT = 0x81
    SIZE = 0x82
    INVERT = 0x83
    AND = 0x84
    OR = 0x85
    XOR = 0x86
    EQUAL = 0x87
    EQUALVERIFY = 0x88
    RESERVED1 = 0x89
    RESERVED2 = 0x8A
    ADD_1 = 0x8B
    SUB_1 = 0x8C
    MUL_2 = 0x8D
    DIV_2 = 0x8E
    NEGATE = 0x8F
    ABS = 0x90
    NOT = 0x91
    NOTEQUAL_0 = 0x92
    ADD = 0x93
    SUB = 0x94
    MUL = 0x95
    DIV = 0x96
    MOD = 0x97
    LSHIFT = 0x98
    RSHIFT = 0x99
    BOOLAND = 0x9A
    BOOLOR = 0x9B
    NUMEQUAL = 0x9C
    NUMEQUALVERIFY = 0x9D
    NUMNOTEQUAL = 0x9E
    LESSTHAN = 0x9F
    GREATERTHAN = 0xA0
    LESSTHANOREQUAL = 0xA1
    GREATERTHANOREQUAL = 0xA2
    MIN = 0xA3
    MAX = 0xA4
    WITHIN = 0xA5
    RIPEMD160 = 0xA6
    SHA1 = 0xA7
    SHA256 = 0xA8
    HASH160 = 0xA9
    HASH256 = 0xAA
    CODESEPARATOR = 0xAB
    CHECKSIG = 0xAC
    CHECKSIGVERIFY = 0xAD
    CHECKMULTISIG = 0xAE
    CHECKMULTISIGVERIFY = 0xAF
    NOP1 = 0xB0
    CHECKLOCKTIMEVERIFY = 0xB1  # BIP 65, once NOP2
    CHECKSEQUENCEVERIFY = 0xB2  # BIP 112, once NOP3
    NOP4 = 0xB3
    NOP10 = 0xB9


DISABLED = frozenset(
    {
        Op.CAT,
        Op.SUBSTR,
        Op.LEFT,
        Op.RIGHT,
        Op.INVERT,
        Op.AND,
        Op.OR,
        Op.XOR,
        Op.MUL_2,
        Op.DIV_2,
        Op.MUL,
        Op.DIV,
        Op.MOD,
        Op.LSHIFT,
        Op.RSHIFT,
    }
)
"""A script that holds one of these fails, wherever it stands (CVE-2010-5137)."""
