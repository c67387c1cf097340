"""What a genesis record must satisfy so that every rule can be applied to its chain.

A record decodes by the widths of its fields; here stand the conditions between them.  Without them
a rule would divide by nothing, or lead to a number that no record holds.
Pure.
"""

from bft.codec.canonical import decode
from bft.errors import ConfigError, DecodeError
from bft.membership import REPLICAS_MAX
from chain.records.block import TIME_MAX
from chain.records.evaluation import UNITS_MAX
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.rules.jobs import check_job
from chain.rules.limits import FUTURE_S_MAX, WINDOW_FACTOR
from chain.rules.scoring import TICKETS_MAX

GENESIS_VERSION = 1
_NOT_IN_HOSTS = frozenset(" /?#@\\")
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
    keys = [member.key for member in genesis.members]
    if len(set(keys)) != len(keys):
        raise ConfigError("two members of the genesis record have one key; each needs its own")
    if len(keys) > REPLICAS_MAX:
        raise ConfigError(f"{len(keys)} members; consensus takes at most {REPLICAS_MAX}")
    if genesis.created_ms // 1000 > TIME_MAX:
        raise ConfigError(f"created_ms is {genesis.created_ms}; block times end in 2106")
    if genesis.params.block_ms > BLOCK_MS_MAX:
        raise ConfigError(
            f"params.block_ms is {genesis.params.block_ms}; at most {BLOCK_MS_MAX}, or nodes would "
            "refuse blocks that their certificates allow"
        )
    _check_texts(genesis)
    _check_positive(genesis)
    check_job(genesis.job)
    _check_tickets(genesis)


def _check_texts(genesis: Genesis) -> None:
    """What people read is text, and what clients dial is an address."""
    job = genesis.job
    names = [genesis.name, genesis.params.name, job.name, job.model, job.dataset]
    for name in (*names, *(member.operator for member in genesis.members)):
        if not _text(name, "utf-8"):
            raise ConfigError(f"the name {name!r} is not printable UTF-8")
    for index, member in enumerate(genesis.members):
        for address in (member.link, member.api):
            host, _, port = _text(address, "ascii").rpartition(":")
            number = int(port) if port.isdigit() else 0
            if not host or set(host) & _NOT_IN_HOSTS or not 0 < number < 65536:
                raise ConfigError(
                    f"member {index} has the address {address!r}; it must be host:port"
                )


def _text(data: bytes, encoding: str) -> str:
    """The text in `data`; empty when it is none, or not printable."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def _check_positive(genesis: Genesis) -> None:
    params, job = genesis.params, genesis.job
    for name, value in (
        ("params.miners_max", params.miners_max),
        ("params.units_per_miner_max", params.units_per_miner_max),
        ("params.unit_capacity", params.unit_capacity),
        ("params.ranks_max", params.ranks_max),
        ("params.gain_reference_micronats", params.gain_reference_micronats),
        ("params.advantage_reference_micronats", params.advantage_reference_micronats),
        ("job.chunk_records", job.chunk_records),
        ("job.outer_rate_denominator", job.outer_rate_denominator),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    if job.chunk_records > job.train_records:
        raise ConfigError(
            f"job.chunk_records is {job.chunk_records}; there are {job.train_records} records"
        )


def _check_tickets(genesis: Genesis) -> None:
    """All tickets of a cycle together fit the field that holds their sum."""
    params, job = genesis.params, genesis.job
    units = min(UNITS_MAX, job.train_records // job.chunk_records)
    parameters = max(job.segment_parameters(segment) for segment in range(job.segments))
    volume = parameters * job.steps * job.batch_records >> params.volume_shift
    if units * volume > TICKETS_MAX:
        raise ConfigError(
            f"{units} units of volume {volume} make more than 2**63 - 1 tickets; "
            f"params.volume_shift is {params.volume_shift} and must be larger"
        )
