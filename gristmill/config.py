"""`gristmill config`: what every settings file may say, and whether one says it rightly."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from bft.errors import ConfigError
from chain.command_group import InOrder
from chain.output import JSON, show_text
from chain.settings import SETTINGS_BYTES_MAX, parse_settings, variables
from chain.settings_text import example as example_of
from chain.settings_text import schema_of


class Kind(NamedTuple):
    """One kind of settings file."""

    module: str
    attribute: str  # the structure
    file: str  # its usual name; "" if it has none
    environment: bool  # whether GRISTMILL_KIND__* stands above it
    whose: str


KINDS = {
    "replica": Kind(
        "coordinator.settings", "ReplicaConfig", "replica.yaml", True, "A replica's operator."
    ),
    "miner": Kind("miner.config", "MinerConfig", "miner.yaml", True, "A miner."),
    "node": Kind("chain.node.config", "NodeConfig", "node.yaml", True, "A chain node's operator."),
    "job": Kind(
        "miner.training.jobfile", "JobFile", "", False, "Who says what is trained; docs/JOBS.md."
    ),
}
"""A job is the same for all: no environment changes it."""

_kind = click.argument("kind", type=click.Choice(list(KINDS)))
_of_kind = click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    help="What FILE is.  [default: what its `kind` says, or else its name]",
)
_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group(cls=InOrder)
def config() -> None:
    """Settings files: what they may say, and whether one says it rightly.

    A flag of a command stands above a variable of the environment, that above the file, and that
    above the default.  A variable is named after its key: GRISTMILL_REPLICA__LISTEN__API sets
    listen.api of a replica, GRISTMILL_MINER_RUN_DEVICE the flag --device of `miner run`.
    docs/CONFIGURATION.md lists every key.

    \b
    gristmill config example replica > replica.yaml
    gristmill config validate replica.yaml
    GRISTMILL_REPLICA__LOG_LEVEL=debug gristmill config show replica.yaml
    """


@config.command()
@_kind
def schema(kind: str) -> None:
    """Print the JSON schema of a KIND of settings file, for editors.

    \b
    gristmill config schema replica > replica.schema.json
    """
    click.echo(json.dumps(schema_of(structure(kind)), indent=2))


@config.command()
@_kind
def example(kind: str) -> None:
    """Print a KIND of settings file with every key explained.

    Type, bounds and default stand above each.

    What need not be said is commented out by one #.

    \b
    gristmill config example miner
    """
    click.echo(example_of(structure(kind)), nl=False)


@config.command()
@_file
@_of_kind
@JSON
def validate(file: Path, kind: str | None, as_json: bool) -> None:
    """Check FILE as the program that reads it does.

    The environment above it is included.

    Ends with status 3 and the path of what is wrong, such as "$.listen.api: ...".

    \b
    gristmill config validate ada/replica.yaml
    gristmill config validate plays.yaml --kind job
    """
    found = kind or kind_of(file)
    load(file, found)
    told = {"file": str(file), "kind": found}
    show_text(told, as_json, f"{file}: a {found}'s, good")


@config.command()
@_file
@_of_kind
@JSON
def show(file: Path, kind: str | None, as_json: bool) -> None:
    """What holds after FILE, environment and defaults.

    \b
    gristmill config show ada/replica.yaml
    """
    import yaml

    found = kind or kind_of(file)
    told = {
        "file": str(file),
        "kind": found,
        "environment": sorted(_environment(found)),
        "settings": msgspec.to_builtins(load(file, found), str_keys=True),
    }
    if as_json:
        click.echo(json.dumps({"ok": True, "data": told}))
        return
    for name in told["environment"]:
        click.echo(f"# {name} is set")
    click.echo(yaml.safe_dump(told["settings"], sort_keys=False), nl=False)


def structure(kind: str) -> type[msgspec.Struct]:
    """The type of a kind of settings."""
    named = KINDS[kind]
    found = getattr(importlib.import_module(named.module), named.attribute)
    assert isinstance(found, type) and issubclass(found, msgspec.Struct), named
    return found


def kind_of(file: Path) -> str:
    """By its `kind`, or else by its name.  Raises ConfigError: neither says it."""
    with file.open("rb") as opened:
        data = opened.read(SETTINGS_BYTES_MAX + 1)
    said = parse_settings(_Named, data, str(file)).kind
    kinds = {"Replica": "replica", "Miner": "miner", "Node": "node"}
    if said is not None:
        if said not in kinds:
            raise ConfigError(f"{file}: $.kind: {said!r}; one of {', '.join(kinds)} expected")
        return kinds[said]
    for kind, named in KINDS.items():
        if file.name == named.file:
            return kind
    raise ConfigError(f"{file}: neither `kind` in it nor its name says what it is; say --kind")


class _Named(msgspec.Struct, frozen=True):
    kind: str | None = None


def load(file: Path, kind: str) -> msgspec.Struct:
    """As the program that it is for reads it.  Raises ConfigError."""
    return _LOADERS[kind](file)


def _replica(file: Path) -> msgspec.Struct:
    from coordinator.config import load_config

    return load_config(file)


def _miner(file: Path) -> msgspec.Struct:
    from miner.config import load_config

    return load_config(file)


def _node(file: Path) -> msgspec.Struct:
    from chain.node.config import load_config, split_endpoint

    found = load_config(file)
    named = [("p2p", found.p2p), ("http", found.http), *(("peers", one) for one in found.peers)]
    for name, endpoint in named:
        try:
            split_endpoint(endpoint)
        except ConfigError as error:
            raise ConfigError(f"{file}: $.{name}: {error}") from None
    return found


def _job(file: Path) -> msgspec.Struct:
    from chain.rules.jobs import check_job
    from miner.training.jobdir import check_fit
    from miner.training.jobfile import job_of, params_of, read_job_file

    found = read_job_file(file)
    made = job_of(found)
    check_job(made)
    check_fit(made, params_of(found))
    return found


_LOADERS: dict[str, Callable[[Path], msgspec.Struct]] = {
    "replica": _replica,
    "miner": _miner,
    "node": _node,
    "job": _job,
}


def _environment(kind: str) -> dict[str, str]:
    return variables(kind, os.environ) if KINDS[kind].environment else {}
