"""How much a block may create.  Source: Bitcoin Core, `GetBlockSubsidy`.  Pure."""

from chain.params import Params


def subsidy(height: int, params: Params) -> int:
    """The most that the coinbase at `height` may pay, in the smallest unit.

    Halved, rounded down, after every `halving_interval` blocks; an interval of 0 never halves.
    """
    if not params.halving_interval:
        return params.subsidy
    return params.subsidy >> (height // params.halving_interval)
