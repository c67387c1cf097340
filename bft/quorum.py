"""How many of n replicas are enough, and for what.

n replicas, at most f = (n - 1) // 3 of them Byzantine.
strong = (n + f) // 2 + 1: two such sets share at least f + 1 replicas, so one correct one.
weak = f + 1: at least one correct replica.
For n = 3f + 1, strong is 2f + 1.  Source: docs/CONSENSUS.md, "Quorums".
Pure.
"""


def faults(n: int) -> int:
    """f, the number of Byzantine replicas that n replicas tolerate."""
    if n < 1:
        raise ValueError(f"a federation has at least 1 replica; n is {n}")
    return (n - 1) // 3


def strong(n: int) -> int:
    """Any two strong quorums share a correct replica, and correct replicas alone form one."""
    f = faults(n)
    quorum = (n + f) // 2 + 1
    assert 2 * quorum - n >= f + 1 and quorum <= n - f
    return quorum


def weak(n: int) -> int:
    """f + 1: at least one of them is correct."""
    return faults(n) + 1
