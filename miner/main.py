"""A miner's process: from a home directory to an exit status."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bft.errors import ConfigError, FederationError
from chain.federation.client import FederationClient
from chain.records.contribution import Profile
from chain.rules.assignment import units_earned
from chain.service_manager import at_work
from miner.agent import Agent
from miner.config import MinerHome, load_home
from miner.files import HomeLock
from miner.sandbox import require_sandbox
from miner.view import NoView, View
from miner.workshop import Workshop

OK = 0
FAILED = 1
CONFIG = 3

log = logging.getLogger("gristmill.miner")


def run_miner(
    home: Path,
    urls: Sequence[str] = (),
    nodes: Sequence[str] = (),
    ready: Callable[[], object] | None = None,
) -> int:
    """Mine in `home` until SIGTERM or SIGINT.  Blocks; fit for a process of its own.

    Call it in a process without threads: it forks the workshop (miner/workshop.py), which has
    torch loaded if this process has.  The log goes to stderr, the events to home/events.jsonl.

    Args:
        urls: replicas' addresses; those of miner.yaml or of the genesis record when left out.
        nodes: chain nodes that get our blocks; those of miner.yaml when left out.
        ready: called once the miner is at work.

    Returns:
        0 after a signal, 3 when home or addresses are wrong, 1 when the workshop died; what went
        wrong is logged.
    """
    log_to_stderr(logging.INFO)
    try:
        run(load_home(home), urls, nodes, ready)
    except ConfigError as error:
        log.error("%s", error)
        return CONFIG
    except FederationError as error:
        log.error("%s", error)
        return FAILED
    return OK


def run(
    home: MinerHome,
    urls: Sequence[str] = (),
    nodes: Sequence[str] = (),
    ready: Callable[[], object] | None = None,
    view: View | None = None,
) -> None:
    """As `run_miner`, for a caller that wants the errors, and perhaps a `view` on the events.

    Raises:
        ConfigError: wrong addresses, or another miner runs in this home.
        Unavailable: the workshop died.
    """
    client = FederationClient(home.genesis, urls or home.config.federation)
    workshop = open_workshop(home)
    try:
        with HomeLock(home.path), view or NoView() as shown:
            asyncio.run(_run(home, client, workshop, nodes or home.config.nodes, ready, shown))
    finally:
        workshop.close()


def open_workshop(home: MinerHome) -> Workshop:
    """Fork the workshop.  Before any thread, and before the lock, which it must not inherit.

    Raises:
        ConfigError: a sandbox is wanted and this machine has none.
    """
    if home.config.sandbox:
        require_sandbox()
    return Workshop(
        home.genesis.job,
        watts_per_core=home.config.watts_per_core,
        niceness=home.config.niceness,
        device=home.config.device,
        sandbox=home.config.sandbox,
    )


def benchmark(home: MinerHome, urls: Sequence[str] = ()) -> tuple[Profile, int]:
    """Measure this machine, keep the profile; (profile, units that it earns in a cycle).

    Raises:
        ConfigError: wrong addresses.
        Unavailable: no replica gave the model, or it could not be trained here.
    """
    client = FederationClient(home.genesis, urls or home.config.federation)
    workshop = open_workshop(home)

    async def measure() -> Profile:
        async with client:
            return await Agent(home, client, workshop, ()).measure()

    try:
        profile = asyncio.run(measure())
    finally:
        workshop.close()
    return profile, units_earned(profile, home.genesis.params)


async def _run(
    home: MinerHome,
    client: FederationClient,
    workshop: Workshop,
    nodes: Sequence[str],
    ready: Callable[[], object] | None,
    view: View,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # else our parent takes care of it
            loop.add_signal_handler(number, stop.set)
    async with client:
        agent = Agent(home, client, workshop, nodes, view.tell)
        work = asyncio.create_task(agent.run())
        stopping = asyncio.create_task(stop.wait())
        if ready is not None:
            ready()
        async with at_work():
            await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not work.done():
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            agent.tell("stopped")
            return
        _raise_first(work.exception())


def _raise_first(error: BaseException | None) -> None:
    """A task group's one reason, without the group around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error


def log_to_stderr(level: int) -> None:
    """One line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("gristmill")
    root.handlers = [handler]
    root.setLevel(level)
    root.propagate = False
