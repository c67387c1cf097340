"""All files of a test network."""

import os
import pwd
import sys
from pathlib import Path

import deploy
from chain.records.federation import Genesis
from coordinator.keys.store import COST, Cost
from gristmill.testnet.compose import compose_file
from gristmill.testnet.homes import write_homes
from gristmill.testnet.kubernetes import overlay_files
from gristmill.testnet.monitoring import monitoring_files
from gristmill.testnet.plan import LOOPBACK, Plan
from gristmill.testnet.units import unit_files
from miner.training.jobdir import JobDirectory

IMAGE_USER = 10001
"""Who runs in the image; the containers of a test network that root writes run as this user."""
DEPLOY = Path(str(deploy.__file__)).parent


def write_testnet(plan: Plan, job: JobDirectory, cost: Cost = COST) -> Genesis:
    """Homes, then everything that starts them; see `write_homes`."""
    genesis = write_homes(plan, job, cost)
    for path, text in deployment_files(plan, _program(), os.getuid(), os.getgid()).items():
        _write_public(plan.root, path, text)
    return genesis


def _write_public(root: Path, path: str, text: str) -> None:
    """Whatever the umask: Prometheus and Grafana read theirs as users of their own."""
    *directories, name = Path(path).parts
    place = root
    for directory in directories:
        place /= directory
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
    file = place / name
    file.write_text(text, encoding="utf-8")
    file.chmod(0o644)


def deployment_files(plan: Plan, program: Path, user: int, group: int) -> dict[str, str]:
    """Path below the root -> text: compose, systemd, kustomize, Prometheus, Grafana.

    Args:
        program: `gristmill` on this machine, for systemd.
        user, group: whose the homes are.
    """
    owner = f"{user}:{group}" if user else f"{IMAGE_USER}:{IMAGE_USER}"
    files = {"compose.yaml": compose_file(plan, owner), **monitoring_files(plan, DEPLOY)}
    name = pwd.getpwuid(user).pw_name
    for file, text in unit_files(plan, DEPLOY / "systemd", program, name).items():
        files[f"systemd/{file}"] = text
    if not plan.loopback:
        files["hosts"] = hosts_file(plan)
    # In a cluster the volume moves to another machine; a standby has no place there.
    if not plan.loopback and not plan.standby:
        for base in sorted((DEPLOY / "kustomize" / "base").glob("*.yaml")):
            files[f"kubernetes/base/{base.name}"] = base.read_text(encoding="utf-8")
        for file, text in overlay_files(plan).items():
            files[f"kubernetes/{file}"] = text
    return files


def hosts_file(plan: Plan) -> str:
    """For /etc/hosts where everything runs on one machine: an address of its own for each name."""
    named = [name for name in plan.names if not name.startswith("miner-")]
    prefix = LOOPBACK.rpartition(".")[0].removesuffix(".0") + ".1"  # 127.0.1
    return "".join(f"{prefix}.{number} {name}\n" for number, name in enumerate(named, 1))


def _program() -> Path:
    """The command of the environment that runs this."""
    return Path(sys.prefix) / "bin" / "gristmill"
