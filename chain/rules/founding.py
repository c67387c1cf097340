"""What a genesis record must satisfy so that every rule can be applied to its chain.

A record decodes by the widths of its fields; here stand the conditions between them.  Without them
a rule would divide by nothing, or lead to a number that no record holds.
Pure.
"""

from bft.codec.canonical import decode
from bft.errors import ConfigError, DecodeError
from chain.network import network_of
from chain.records.block import TIME_MAX
from chain.records.evaluation import UNITS_MAX
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.rules.audits import ONE
from chain.rules.families.registry import segment_parameters
from chain.rules.jobs import check_job
from chain.rules.limits import FUTURE_S_MAX, WINDOW_FACTOR
from chain.rules.membership import check_members, text
from chain.rules.scoring import COVERAGE_MAX, QUALITY_MAX, TICKETS_MAX

GENESIS_VERSION = 1
WINDOW_MAX = 1024  # batches; of so many a replica can prove what it prepared
BLOCK_MS_MAX = 1000 * FUTURE_S_MAX // WINDOW_FACTOR


def open_genesis(data: bytes, source: str = "the genesis record") -> Genesis:
    """The genesis record in `data`, which came from `source`.

    Raises:
        ConfigError: it is none, or no chain can follow it; the text begins with `source`.
    """
    try:
        genesis = decode(Genesis, data, bytes_max=GENESIS_BYTES_MAX)
        check_genesis(genesis)
    except (DecodeError, ConfigError) as error:
        raise ConfigError(f"{source}: {error}") from None
    return genesis


def check_genesis(genesis: Genesis) -> None:
    """Returns if the rules can be applied.

    Raises:
        ConfigError: names the field, what it is, and what it must be.
    """
    if genesis.version != GENESIS_VERSION:
        raise ConfigError(f"genesis version {genesis.version}; this software knows 1")
    check_members(genesis.members)
    if genesis.created_ms // 1000 > TIME_MAX:
        raise ConfigError(f"created_ms is {genesis.created_ms}; block times end in 2106")
    if genesis.params.block_ms > BLOCK_MS_MAX:
        raise ConfigError(
            f"params.block_ms is {genesis.params.block_ms}; at most {BLOCK_MS_MAX}, or nodes would "
            "refuse blocks that their certificates allow"
        )
    _check_texts(genesis)
    _check_positive(genesis)
    _check_window(genesis)
    _check_profile(genesis)
    check_job(genesis.job)
    _check_tickets(genesis)


def _check_texts(genesis: Genesis) -> None:
    """What people read is text."""
    job = genesis.job
    names = [genesis.name, genesis.params.name, job.name, job.family, job.dataset]
    for name in names:
        if not text(name, "utf-8"):
            raise ConfigError(f"the name {name!r} is not printable UTF-8")


def _check_positive(genesis: Genesis) -> None:
    params, job = genesis.params, genesis.job
    for name, value in (
        ("params.checkpoint_interval", params.checkpoint_interval),
        ("params.miners_max", params.miners_max),
        ("params.units_per_miner_max", params.units_per_miner_max),
        ("params.unit_capacity", params.unit_capacity),
        ("params.ranks_max", params.ranks_max),
        ("params.gain_reference_micronats", params.gain_reference_micronats),
        ("params.advantage_reference", params.advantage_reference),
        ("params.challenge_records", params.challenge_records),
        ("params.own_records", params.own_records),
        ("params.control_records", params.control_records),
        ("params.newcomer_units", params.newcomer_units),
        ("job.chunk_records", job.chunk_records),
        ("job.outer_rate_denominator", job.outer_rate_denominator),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    for name, value in (
        ("params.audit_share", params.audit_share),
        ("params.audit_cosine", params.audit_cosine),
    ):
        if value > ONE:
            raise ConfigError(f"{name} is {value}; it must be at most {ONE}, which stands for 1")
    if job.chunk_records > job.train_records:
        raise ConfigError(
            f"job.chunk_records is {job.chunk_records}; there are {job.train_records} records"
        )


def _check_window(genesis: Genesis) -> None:
    """As consensus needs it, docs/CONSENSUS.md."""
    interval, window = genesis.params.checkpoint_interval, genesis.params.window
    if window < 2 * interval or window % interval or window > WINDOW_MAX:
        raise ConfigError(
            f"params.window is {window}; a multiple of params.checkpoint_interval {interval}, at "
            f"least twice as large and at most {WINDOW_MAX} is expected"
        )


def _check_profile(genesis: Genesis) -> None:
    """Tools of the profile's network would refuse higher rewards than that network's."""
    params = genesis.params
    profile = network_of(genesis)
    if params.block_ms < profile.block_ms_min:
        raise ConfigError(
            f"params.block_ms is {params.block_ms}; profile {profile.name} needs at least "
            f"{profile.block_ms_min}, because a winner has to work for its block"
        )
    if profile.subsidy_max is not None and params.subsidy > profile.subsidy_max:
        raise ConfigError(
            f"params.subsidy is {params.subsidy}; in profile {profile.name} at most "
            f"{profile.subsidy_max}"
        )
    if profile.halving_interval not in (None, params.halving_interval):
        raise ConfigError(
            f"params.halving_interval is {params.halving_interval}; profile {profile.name} has "
            f"{profile.halving_interval}"
        )


def _check_tickets(genesis: Genesis) -> None:
    """All tickets of a cycle together fit the field that holds their sum."""
    params, job = genesis.params, genesis.job
    units = min(UNITS_MAX, job.train_records // job.chunk_records)
    parameters = max(segment_parameters(job, segment) for segment in range(job.segments))
    volume = parameters * job.steps * job.batch_records >> params.volume_shift
    most = volume * COVERAGE_MAX * COVERAGE_MAX * QUALITY_MAX >> 48
    if units * most > TICKETS_MAX:
        raise ConfigError(
            f"{units} units of volume {volume} can make more than 2**63 - 1 tickets; "
            f"params.volume_shift is {params.volume_shift} and must be larger"
        )
