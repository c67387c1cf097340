"""The phases of a cycle, as `Elapsed` names them on the wire.

Pure.
"""

from enum import IntEnum


class Phase(IntEnum):
    """Where a cycle stands.  The order is the order of a cycle."""

    KEYGEN = 0  # distributed key generation, once
    ACTIVATION = 1  # the first signature under the new key, once
    REGISTRATION = 2
    TRAINING = 3
    REVEAL = 4
    CHALLENGE = 5
    EVALUATION = 6
    DRAW = 7
    AGGREGATION = 8
    CERTIFICATION = 9
    BLOCK = 10
    FINALITY = 11
