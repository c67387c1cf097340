"""The door: `gristmill COMMAND`.  A command's module is imported when the command is invoked.

So `gristmill --help` costs neither torch nor aiohttp, and an auditor needs no torch at all.
`main` is the one place where errors become exit statuses and one line on stderr.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from gristmill import exits
from gristmill.version import VERSION


class Target(NamedTuple):
    """Where a command stands, and its line in `gristmill --help`."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, Target] = {
    "demo": Target(
        "gristmill.demo.command", "demo", "A whole federation on this machine: train, draw, mine."
    ),
    "testnet": Target(
        "gristmill.testnet.command", "testnet", "Write a test federation's homes and deployment."
    ),
    "operator": Target("coordinator.cli", "operator", "Run one coordinator replica."),
    "federation": Target("coordinator.cli", "federation", "Found a federation; ask what it does."),
    "job": Target("miner.training.job_cli", "job", "Describe what is trained."),
    "model": Target("miner.training.model_cli", "model", "Take the trained model home."),
    "miner": Target("miner.cli", "miner", "Train for the federation."),
    "node": Target("chain.cli", "node", "Follow and check the chain."),
    "wallet": Target("chain.wallet.cli", "wallet", "Receive and pay."),
    "verify": Target(
        "chain.verify_cli", "verify", "Check a certificate, a block, or the chain from its headers."
    ),
    "audit": Target(
        "chain.audit.cli", "audit", "Replay the score log and name what does not follow."
    ),
    "monitor": Target("chain.monitor.cli", "monitor", "Watch replicas on a terminal."),
    "energy": Target(
        "chain.energy.cli", "energy", "Joules per block and per loss removed, beside Bitcoin's."
    ),
    "config": Target("gristmill.config", "config", "Settings files: show, check, explain them."),
    "completion": Target("gristmill.completion", "completion", "Make your shell complete names."),
    "version": Target("gristmill.version", "version", "What is installed here."),
}


class LazyGroup(click.Group):
    """A group that knows names and help lines from COMMANDS and imports one command at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself: here its module is imported."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        command = getattr(importlib.import_module(target.module), target.attribute)
        assert isinstance(command, click.Command), f"{target.module}.{target.attribute}"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, target.help) for name, target in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names for the shell, without importing anything."""
        return [
            CompletionItem(name, help=target.help)
            for name, target in COMMANDS.items()
            if name.startswith(incomplete)
        ]


@click.group(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": "GRISTMILL",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog=exits.EXIT_HELP,
)
@click.version_option(VERSION, message="gristmill %(version)s")
def gristmill() -> None:
    """Gristmill: a federation that orders, scores and certifies the training of models.

    `gristmill COMMAND --help` explains a command.  Results go to stdout, everything else to
    stderr.  GRISTMILL_DEBUG=1 shows tracebacks.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name.  Returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        result = gristmill.main(args, prog_name="gristmill", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _tell(error, args)
    return result if isinstance(result, int) else exits.OK


def _tell(error: BaseException, args: list[str]) -> int:
    """Say once what went wrong, in the way the caller can read, and return the exit status."""
    status = exits.status_of(error)
    if isinstance(error, BrokenPipeError):
        # The reader has gone.  Python flushes stdout once more at exit; let that go nowhere.
        # Inside a command click does the same, with the same status.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status
    if _wants_traceback(args) and not isinstance(error, click.ClickException | click.Abort):
        traceback.print_exception(error)
    if "--json" in args:
        problem = {
            "type": "about:blank",
            "title": type(error).__name__,
            "detail": exits.line_for(error),
            "exit_status": status,
        }
        click.echo(json.dumps({"ok": False, "error": problem}))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(f"gristmill: {exits.line_for(error)}", err=True)
    return status


def _wants_traceback(args: list[str]) -> bool:
    return bool(os.environ.get("GRISTMILL_DEBUG")) or not {"-v", "-vv", "--verbose"}.isdisjoint(
        args
    )
