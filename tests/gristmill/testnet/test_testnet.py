"""A test network's homes work as they are, and its files name what is there."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bft.errors import ConfigError
from chain.node.config import load_config as load_node
from chain.params import MINIMAL
from coordinator.config import load_setup
from coordinator.guard.store import SqliteGuard
from coordinator.keys.store import Cost
from gristmill.cli import main
from gristmill.testnet.command import next_steps
from gristmill.testnet.compose import compose_file
from gristmill.testnet.plan import CREDENTIAL, STANDBY, Network, Plan
from gristmill.testnet.write import DEPLOY, IMAGE_USER, deployment_files, write_testnet
from miner.config import load_home
from miner.training.jobdir import JobDirectory
from miner.training.jobs import digits_job
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

CHEAP = Cost(n_log2=4)


def job() -> JobDirectory:
    made, snapshot = digits_job()
    return JobDirectory(made, MINIMAL, snapshot)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = Plan(root=tmp_path_factory.mktemp("testnet"), nodes=2)
    write_testnet(plan, job(), CHEAP)
    return plan


def test_every_operator_finds_himself_in_the_genesis_record(network: Plan) -> None:
    for index in range(network.replicas):
        passphrase = network.credentials(index) / CREDENTIAL
        setup = load_setup(network.home(f"replica-{index}"), passphrase_file=passphrase)
        assert setup.index == index
        assert setup.keystore.encrypted
        assert setup.member.api == f"replica-{index}:7401".encode()
        assert setup.genesis.params == MINIMAL


def test_miners_and_nodes_belong_to_the_same_chain_and_know_each_other(network: Plan) -> None:
    genesis = (network.root / "genesis.bin").read_bytes()
    for index in range(network.miners):
        home = load_home(network.home(f"miner-{index}"))
        assert home.config.nodes == ("http://node-0:7501", "http://node-1:7501")
        assert (home.path / "genesis.bin").read_bytes() == genesis
    node = load_node(network.home("node-1") / "node.yaml")
    assert Path(node.genesis).read_bytes() == genesis
    assert (node.peers, node.ask_members) == (("node-0:7500",), True)


def test_only_the_owner_reads_what_is_secret(network: Plan) -> None:
    secret = [*network.root.rglob("*.key"), *network.root.rglob(CREDENTIAL)]
    assert len(secret) == 2 * network.replicas + network.miners + network.replicas
    assert {file.stat().st_mode & 0o777 for file in secret} == {0o600}
    assert network.root.stat().st_mode & 0o077 == 0 or os.environ.get("TMPDIR") is not None


def test_compose_runs_each_home_without_privileges(network: Plan) -> None:
    document = yaml.safe_load((network.root / "compose.yaml").read_text())
    services = document["services"]
    assert list(services) == [*network.names, "prometheus", "grafana"]
    for name, service in services.items():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            there = (network.root / source).is_dir() if source.startswith(".") else True
            assert there or source in document["volumes"], f"{name}: {volume}"
    for secret in document["secrets"].values():
        assert (network.root / secret["file"]).is_file()


def test_the_compose_file_in_the_repository_is_what_testnet_writes() -> None:
    held = (DEPLOY / "compose" / "compose.yaml").read_text()
    assert held == compose_file(Plan(root=Path(), standby=True), f"{IMAGE_USER}:{IMAGE_USER}")


def test_a_standby_has_the_keys_and_a_guard_that_waits_for_etcd(tmp_path: Path) -> None:
    plan = Plan(root=tmp_path / "net", replicas=1, miners=0, nodes=0, standby=True)
    write_testnet(plan, job(), CHEAP)
    passphrase = plan.credentials(0) / CREDENTIAL
    first = load_setup(plan.home("replica-0"), passphrase_file=passphrase)
    second = load_setup(plan.home(STANDBY), passphrase_file=passphrase)
    assert first.identity.public_key == second.identity.public_key
    assert first.config.standby is not None
    assert first.config.standby == second.config.standby
    for setup, waits in ((first, False), (second, True)):
        guard = SqliteGuard(setup.guard, setup.identity.public_key)
        assert bool(guard.second) == waits
        guard.close()
    services = yaml.safe_load((plan.root / "compose.yaml").read_text())["services"]
    assert services["replica-0"]["network_mode"] == "service:etcd"
    assert services[STANDBY]["network_mode"] == "service:etcd"
    assert services["etcd"]["networks"]["default"]["aliases"] == ["replica-0"]
    assert not (plan.root / "replica-0.tar").exists()
    assert not (plan.root / "kubernetes").exists()


def test_units_start_the_homes(network: Plan) -> None:
    units = sorted((network.root / "systemd").glob("*.service"))
    assert [unit.stem.removeprefix("gristmill-testnet-") for unit in units] == sorted(network.names)
    for unit in units:
        command = shlex.split(value(unit.read_text(), "ExecStart"))
        assert Path(command[command.index("--home") + 1]) in map(network.home, network.names)
        assert "%i" not in unit.read_text()


def value(unit: str, key: str) -> str:
    (found,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
    return found


def test_what_prometheus_scrapes_is_where_replicas_serve_metrics(network: Plan) -> None:
    config = yaml.safe_load((network.root / "prometheus" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    services = yaml.safe_load((network.root / "compose.yaml").read_text())["services"]
    for index, target in enumerate(job["static_configs"][0]["targets"]):
        served = services[f"replica-{index}"]["environment"]["GRISTMILL_REPLICA__LISTEN__METRICS"]
        assert target == f"replica-{index}:{served.rpartition(':')[2]}"


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        write_testnet(Plan(root=tmp_path), job(), CHEAP)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("wrong", [{"replicas": 14}, {"nodes": -1}, {"ports": (7400, 7401)}])
def test_a_plan_beyond_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Plan(root=Path(), **wrong)


def test_json_tells_where_everything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "net"
    assert main(["testnet", str(root), "--replicas", "1", "--plain-keys", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["data"]
    assert Path(told["homes"]["replica-0"], "identity.key").is_file()
    assert told["apis"] == ["http://replica-0:7401"]
    assert told["next"] == next_steps(Plan(root=root, replicas=1, plain_keys=True), os.getuid())


def test_the_wheel_brings_what_testnet_copies() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]["deploy"]
    packed = {file for pattern in globs for file in DEPLOY.glob(pattern)}
    for room in ("systemd", "kustomize", "prometheus", "grafana"):
        assert {
            f for f in (DEPLOY / room).rglob("*") if f.suffix in SHIPPED and f.is_file()
        } <= packed


SHIPPED = {".yaml", ".json", ".service"}


@pytest.mark.integration
def test_the_units_command_runs_a_replica_that_tells_systemd_how_it_is(tmp_path: Path) -> None:
    """Its ExecStart with its Environment and its credential, before a service manager's socket."""
    plan = Plan(
        root=tmp_path / "net",
        replicas=1,
        miners=0,
        nodes=0,
        network=Network.LOOPBACK,
        ports=claim_ports(3),
    )
    write_testnet(plan, job(), CHEAP)
    files = deployment_files(plan, Path("gristmill"), os.getuid(), os.getgid())
    unit = files["systemd/gristmill-testnet-replica-0.service"]
    _, *arguments = shlex.split(value(unit, "ExecStart"))
    name, _, setting = value(unit, "Environment").partition("=")
    credential, _, source = value(unit, "LoadCredential").partition(":")
    socket_path = str(tmp_path / "notify")
    environ = {
        **os.environ,
        name: setting,
        "CREDENTIALS_DIRECTORY": str(Path(source).parent),
        "NOTIFY_SOCKET": socket_path,
        "WATCHDOG_USEC": "200000",
    }
    assert credential == CREDENTIAL
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(socket_path)
        manager.settimeout(PATIENCE_S)
        command = [sys.executable, "-m", "gristmill", *arguments]
        process = subprocess.Popen(command, env=environ, cwd=DEPLOY.parent)
        try:
            assert [manager.recv(64) for _ in range(3)] == [
                b"READY=1",
                b"WATCHDOG=1",
                b"WATCHDOG=1",
            ]
            process.send_signal(signal.SIGTERM)
            while (last := manager.recv(64)) == b"WATCHDOG=1":
                pass
            assert last == b"STOPPING=1"
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
