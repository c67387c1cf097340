"""A test network as systemd units: deploy/systemd's own, with homes, names and owner changed."""

from collections.abc import Mapping
from pathlib import Path

from gristmill.testnet.plan import CREDENTIAL, STANDBY, Plan, replica_of

SOURCE = {
    "replica": "gristmill-replica@.service",
    "miner": "gristmill-miner.service",
    "node": "gristmill-node.service",
}
TARGET = "gristmill-testnet.target"


def unit_files(plan: Plan, units: Path, program: Path, owner: str) -> dict[str, str]:
    """File name -> text.

    Args:
        units: deploy/systemd.
        program: what starts gristmill on this machine.
        owner: the user whose homes these are.
    """
    made = {name: _unit(plan, name, units, program, owner) for name in plan.processes}
    files = {f"gristmill-testnet-{name}.service": text for name, text in made.items()}
    wanted = "".join(f"Wants={name}\n" for name in files)
    files[TARGET] = f"[Unit]\nDescription=Gristmill test network\n{wanted}"
    return files


def _unit(plan: Plan, name: str, units: Path, program: Path, owner: str) -> str:
    kind = name.partition("-")[0]
    home = plan.home(name)
    text = (units / SOURCE[kind]).read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    arguments = command.partition(" ")[2].partition(" --home ")
    rest = arguments[2].partition(" ")[2]
    changed = {
        "Description": f"Description=Gristmill test network, {name}",
        "User": f"User={owner}",
        "Group": "",
        "StateDirectory": f"ReadWritePaths={home}",
        "StateDirectoryMode": "",
        "WorkingDirectory": f"WorkingDirectory={home}",
        "ExecStart": f"ExecStart={program} {arguments[0]} --home {home} {rest}".rstrip(),
        # Homes of a test network may lie below /home or /tmp.
        "ProtectHome": "ProtectHome=read-only",
        "PrivateTmp": "PrivateTmp=no",
        "WantedBy": f"WantedBy={TARGET}",
    }
    if name == STANDBY:
        changed["After"] = "After=gristmill-testnet-replica-0.service"
    if kind == "replica":
        number = replica_of(name)
        secret = plan.credentials(number) / CREDENTIAL
        credential = "" if plan.plain_keys else f"LoadCredential={CREDENTIAL}:{secret}\n"
        listen = f"Environment=GRISTMILL_REPLICA__LISTEN__METRICS={plan.metrics(number)}"
        changed["LoadCredential"] = credential + listen
    return _with(text, changed)


def _with(text: str, changed: Mapping[str, str]) -> str:
    """The unit with other lines for some keys; comments go, because they tell of the original."""
    lines = []
    for line in text.splitlines():
        other = changed.get(line.partition("=")[0], line)
        if not line.startswith("#") and (other or not line):
            lines.append(other)
    return "\n".join(lines).lstrip() + "\n"
