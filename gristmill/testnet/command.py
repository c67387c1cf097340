"""`gristmill testnet`: parse, write, say what to do next."""

import os
from pathlib import Path

import click

from chain.output import JSON, show_text
from gristmill.testnet.plan import Network, Plan


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--replicas", default=4, show_default=True, help="Operators, 1 to 13.")
@click.option("--miners", default=2, show_default=True, help="Miners, 0 to 32.")
@click.option("--nodes", default=1, show_default=True, help="Chain nodes, 0 to 8.")
@click.option(
    "--network",
    type=click.Choice([str(network) for network in Network]),
    default=str(Network.NAMES),
    show_default=True,
    help="Where members answer.  names: replica-0:7400 and so on, as containers and pods have; "
    "loopback: 127.0.0.1, each with ports of its own from 7400 on.",
)
@click.option(
    "--params",
    type=click.Choice(["minimal", "main", "signet"]),
    default="minimal",
    show_default=True,
    help="Constants of the chain: cycles of seconds, or of twenty minutes, or seconds and blocks "
    "that a stock bitcoind follows.",
)
@click.option(
    "--standby",
    is_flag=True,
    help="A second process with replica 0's identity, and an etcd that lets one of them vote: at "
    "127.0.0.1:2379, in compose.yaml a container.",
)
@click.option("--plain-keys", is_flag=True, help="Do not encrypt the replicas' keys.")
@JSON
def testnet(
    directory: Path,
    replicas: int,
    miners: int,
    nodes: int,
    network: str,
    params: str,
    standby: bool,
    plain_keys: bool,
    as_json: bool,
) -> None:
    """Write the homes of a whole test federation into DIR, and what starts them.

    DIR must be new or empty.  It gets a home for every operator (replica-0, ...), miner and node,
    with the genesis record of all; passphrases in secrets/; and, for the same homes, compose.yaml
    (with Prometheus and Grafana), systemd/ (units) and kubernetes/ (kustomize overlays, with
    names and without a standby).

    Everything of everybody is in one place, so this is for rehearsals.  In earnest each operator
    runs `gristmill operator init` where his replica will run.

    \b
    gristmill testnet net
    gristmill testnet net --replicas 7 --nodes 2 --json
    gristmill testnet net --network loopback --plain-keys
    """
    from chain.params import PRESETS
    from gristmill.testnet.write import write_testnet
    from miner.training.jobdir import JobDirectory
    from miner.training.jobs import digits_job

    plan = Plan(
        root=directory.absolute(),
        replicas=replicas,
        miners=miners,
        nodes=nodes,
        network=Network(network),
        plain_keys=plain_keys,
        standby=standby,
    )
    job, snapshot = digits_job()
    genesis = write_testnet(plan, JobDirectory(job, PRESETS[params], snapshot))
    steps = next_steps(plan, os.getuid())
    told = {
        "chain_id": genesis.chain_id.hex(),
        "directory": str(plan.root),
        "homes": {name: str(plan.home(name)) for name in plan.processes},
        "apis": [f"http://{plan.api(index)}" for index in range(plan.replicas)],
        "next": steps,
    }
    made = f"chain {genesis.chain_id.hex()}: {', '.join(plan.processes)} in {plan.root}"
    show_text(told, as_json, "\n".join([made, *steps]))


def next_steps(plan: Plan, user: int) -> list[str]:
    """For people: what starts it, one way a line."""
    root = plan.root
    credentials = "" if plan.plain_keys else f"CREDENTIALS_DIRECTORY={plan.credentials(0)} "
    owned = f"chown -R 10001:10001 {root} && " if user == 0 else ""
    by_name = "" if plan.loopback else f"after `cat {root}/hosts >>/etc/hosts`, "
    steps = [
        f"compose: {owned}docker compose --project-directory {root} up --detach --wait",
        f"systemd: {by_name}systemctl link {root}/systemd/* && "
        "systemctl start gristmill-testnet.target",
    ]
    if not plan.loopback and not plan.standby:
        steps.append("kubernetes: docs/DEPLOYMENT.md")
    home = plan.home("replica-0")
    steps.append(f"by hand: {by_name}{credentials}gristmill operator run --home {home}, and so on")
    return steps
