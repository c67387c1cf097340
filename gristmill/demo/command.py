"""`gristmill demo`: parse, run, print."""

import json
import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from bft.errors import ConfigError
from gristmill.demo.orphans import adopt_orphans, wait_for_all
from gristmill.demo.plan import Fault, Plan


@click.command()
@click.option("--replicas", default=4, show_default=True, help="Coordinator replicas, 1 to 13.")
@click.option("--miners", default=6, show_default=True, help="Miners, 1 to 32.")
@click.option("--nodes", default=2, show_default=True, help="Chain nodes, 0 to 8.")
@click.option("--cycles", default=3, show_default=True, help="Cycles to run.")
@click.option(
    "--fault",
    type=click.Choice([str(fault) for fault in Fault]),
    default=str(Fault.NONE),
    show_default=True,
    help="What goes wrong on purpose: kill -9 of the primary, a replica that lies in its "
    "evaluation table, or kill -9 of a miner after its commitment.",
)
@click.option(
    "--job",
    metavar="JOB",
    help="What is trained: a job's directory, a job file, or the name of one (`gristmill job "
    "create --help`).  Default: digits.",
)
@click.option(
    "--params",
    type=click.Choice(["minimal", "signet"]),
    default="minimal",
    show_default=True,
    help="Constants of the chain, unless a job brings its own.  signet: blocks that a stock "
    "bitcoind follows; each costs seconds of work.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="The source of the job's data, if it needs one."
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where keys, journals and logs go; must be new or empty. Default: a temporary directory.",
)
@click.option("--keep", is_flag=True, help="Keep the temporary directory.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object on stdout at the end; progress on stderr.",
)
@click.option("--plain", is_flag=True, help="Plain lines also on a terminal.")
@click.pass_context
def demo(
    ctx: click.Context,
    replicas: int,
    miners: int,
    nodes: int,
    cycles: int,
    fault: str,
    job: str | None,
    params: str,
    data: Path | None,
    home: Path | None,
    keep: bool,
    as_json: bool,
    plain: bool,
) -> None:
    """A whole federation on this machine: real processes, keys, training, votes and blocks.

    Replicas make the federation's key without a dealer, miners train the segments of a small model
    on scikit-learn's digits, the draw picks a winner, its block becomes final, and in the end an
    auditor replays everything.  Ctrl-C ends it and leaves no process behind.

    Exit status: 0 when every cycle was certified and the audit passed, 6 when not, 7 when
    something took too long.

    \b
    gristmill demo
    gristmill demo --fault lying-scorer --home trial
    """
    temporary = home is None
    place = Path() if home is None else home.absolute()
    if not temporary and place.exists() and any(place.iterdir()):
        raise ConfigError(f"--home {place} is not empty; a demonstration starts from nothing")
    plan = Plan(
        replicas=replicas,
        miners=miners,
        nodes=nodes,
        cycles=cycles,
        fault=Fault(fault),
        home=place,
        job=job,
        params=params,
        data=data,
    )
    if temporary:
        place = Path(tempfile.mkdtemp(prefix="gristmill-demo-"))
        plan = replace(plan, home=place)
    signal.signal(signal.SIGTERM, _interrupt)
    finished = False
    try:
        summary = _run(plan, as_json, plain)
        finished = True
    finally:
        if temporary and finished and not keep:
            shutil.rmtree(place, ignore_errors=True)
        elif temporary and not finished:
            click.echo(f"logs are in {place}", err=True)
    if as_json:
        click.echo(json.dumps({"ok": summary["ok"], "data": summary}))
    else:
        _print(summary, kept=not temporary or keep)
    ctx.exit(0 if summary["ok"] else 6)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(plan: Plan, as_json: bool, plain: bool) -> dict[str, Any]:
    from gristmill.demo.run import Demonstration
    from gristmill.demo.view import choose

    console = Console(stderr=as_json)
    adopt_orphans()
    try:
        with choose(console, plain or as_json) as view:
            return Demonstration(plan, view).run()
    finally:
        wait_for_all()


def _print(summary: dict[str, Any], *, kept: bool) -> None:
    say = click.echo
    say("")
    say("cycle  held-out loss  accuracy  winner      block")
    for told in summary["cycles"]:
        block = f"{told['height']} {told['block'][:16]}" if told["height"] else told["closed"]
        say(
            f"{told['cycle']:5}  {told['loss']:13.4f}  {100 * told['accuracy']:6.1f} %  "
            f"{told['winner'] or '-':10}  {block}"
        )
    for note in summary["fault_notes"]:
        say(f"fault: {note}")
    say("")
    for status in summary["replicas"]:
        say(
            f"replica {status['replica']}: log {status['log_size']} entries, "
            f"root {status['log_root'][:16]}, model {status['model'][:16]}, "
            f"tip {status['height']} {status['tip'][:16]}"
        )
    for status in summary["nodes"]:
        say(f"node {status['node']}:    tip {status['height']} {status['tip'][:16]}")
    say("")
    audit = summary["audit"]
    verdict = "PASSED" if audit["passed"] else "FAILED"
    say(f"audit: {verdict}, {audit['entries']} entries, log root {audit['log_root'][:16]}")
    for finding in audit["findings"]:
        whose = "".join(f", replica {index}" for index in finding["replicas"])
        place = f"cycle {finding['cycle']}, entry {finding['entry']}{whose}"
        say(f"  {finding['severity']}: {place}: {finding['text']}")
    say(f"{summary['seconds']} s from the first key to the last block")
    if kept:
        home = summary["home"]
        say("\nlook further:")
        say(f"  gristmill audit {summary['archive']}")
        say(f"  gristmill node tip --home {os.path.join(home, 'node-0')}")
        say(f"  ls {home}")
    else:
        say("\nlook further: run it again with --home DIR, and DIR keeps keys, logs and chain")
