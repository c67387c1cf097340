"""The homes of a test network, made by the functions behind the operators' own commands."""

import secrets
from pathlib import Path

import msgspec
import yaml

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.durable import write_whole
from chain.node.config import CONFIG_NAME, NodeConfig
from chain.records.federation import Genesis
from coordinator.ceremony import create_identity, make_genesis, write_genesis
from coordinator.config import Home, read_record
from coordinator.guard.moving import make_second
from coordinator.keys.backup import read_backup, write_backup
from coordinator.keys.store import COST, Cost
from coordinator.service.blobs import blob_path
from gristmill.testnet.plan import CREDENTIAL, ETCD, STANDBY, Plan
from miner.config import MinerConfig
from miner.config import create_home as create_miner_home
from miner.training.jobdir import JobDirectory

PASSPHRASE_BYTES = 24


def write_homes(plan: Plan, job: JobDirectory, cost: Cost = COST) -> Genesis:
    """One home a process, each with its own secrets only; nobody deals keys to anybody.

    Args:
        cost: of guessing a replica's passphrase.

    Raises:
        ConfigError: `plan.root` is not empty.
    """
    if plan.root.exists() and any(plan.root.iterdir()):
        raise ConfigError(f"{plan.root} is not empty; a test network starts from nothing")
    plan.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    members = [
        create_identity(
            plan.home(f"replica-{index}"),
            f"operator-{index}",
            plan.link(index),
            plan.api(index),
            None if plan.plain_keys else _new_passphrase(plan, index),
            cost,
        )
        for index in range(plan.replicas)
    ]
    genesis = make_genesis("testnet", members, job.params, job.job, job.snapshot)
    write_whole(plan.root / "genesis.bin", encode(genesis), 0o644)
    for index in range(plan.replicas):
        write_genesis(plan.home(f"replica-{index}"), genesis, job.snapshot)
    if plan.standby:
        _write_standby(plan)
    nodes = tuple(f"http://{plan.http(index)}" for index in range(plan.nodes))
    for index in range(plan.miners):
        create_miner_home(plan.home(f"miner-{index}"), genesis, MinerConfig(nodes=nodes))
    for index in range(plan.nodes):
        _write_node(plan, index, genesis)
    return genesis


def _new_passphrase(plan: Plan, index: int) -> bytes:
    directory = plan.credentials(index)
    directory.mkdir(mode=0o700, parents=True)
    passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES).encode()
    write_whole(directory / CREDENTIAL, passphrase + b"\n", 0o600)
    return passphrase


def _write_standby(plan: Plan) -> None:
    """The second home of replica 0, as `operator keys restore` and `guard standby` make it."""
    first, second = plan.home("replica-0"), plan.home(STANDBY)
    with Home(first).config.open("a", encoding="utf-8") as settings:
        settings.write(f'standby: {{etcd: ["{ETCD}"]}}\n')
    archive = plan.root / "replica-0.tar"
    write_backup(first, archive, plain=plan.plain_keys)
    read_backup(archive, second)
    archive.unlink()
    genesis = read_record(Home(second).genesis, Genesis)
    make_second(Home(second).guard, genesis.members[0].key)
    # What `operator join` puts there; a backup holds no artifacts.
    blob = Path(blob_path(genesis.job.genesis_model))
    copy = Home(second).blobs / blob
    copy.parent.mkdir(mode=0o700, parents=True)
    write_whole(copy, (Home(first).blobs / blob).read_bytes(), 0o644)


def _write_node(plan: Plan, index: int, genesis: Genesis) -> None:
    """Paths in it are relative: a container sees the home elsewhere."""
    home = plan.home(f"node-{index}")
    home.mkdir(mode=0o700)
    write_whole(home / "genesis.bin", encode(genesis), 0o644)
    config = NodeConfig(
        p2p=plan.p2p(index),
        http=plan.http(index),
        peers=tuple(plan.p2p(earlier) for earlier in range(index)),
        ask_members=True,
    )
    settings = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False)
    write_whole(home / CONFIG_NAME, settings.encode(), 0o644)
