"""A replica's process: from a home directory to an exit status."""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bft.errors import ConfigError
from chain.service_manager import at_work
from coordinator.config import Setup, load_setup
from coordinator.service.app import PoolFactory, ReplicaService
from coordinator.service.runtime import Halted

if TYPE_CHECKING:
    from coordinator.service.work import Pool

OK = 0
HALTED = 1
CONFIG = 3

GARBAGE_OBJECTS = 20_000
"""Allocations between two searches for cycles.  Messages and requests make none, and Python's own
number would have a busy replica spend a tenth of its time on looking for them."""

log = logging.getLogger("gristmill.replica")


def run_replica(
    home: Path,
    pool_factory: PoolFactory | None = None,
    ready: Callable[[], None] | None = None,
    *,
    log_to_file: bool = True,
) -> int:
    """Run the replica at `home` until SIGTERM or SIGINT.  Blocks; fit for a process of its own.

    Args:
        pool_factory: (workers) -> evaluation pool; the real one when left out.
        ready: called once the replica listens and has recovered.
        log_to_file: to home/replica.log; else to stderr.

    Returns:
        0 after a signal, 1 when the replica had to halt (or met a bug of ours), 3 when home or
        addresses are wrong; what went wrong is logged.
    """
    _log_to(home / "replica.log" if log_to_file and home.is_dir() else None)
    try:
        setup = load_setup(home)
        logging.getLogger("gristmill").setLevel(setup.config.log_level.upper())
        if not setup.keystore.encrypted:
            log.warning("the keys in %s are plain: whoever reads the disk has them", home)
        asyncio.run(
            _run(setup, (pool_factory or evaluation_pool)(setup.config.evaluation.workers), ready)
        )
    except ConfigError as error:
        log.error("%s", error)
        return CONFIG
    except Halted as error:
        log.critical("halted: %s", error)
        return HALTED
    except Exception:
        # Better no replica than one that goes on with a wrong state: a bug of ours ends it.
        log.critical("stopped by a bug of ours", exc_info=True)
        return HALTED
    return OK


def evaluation_pool(workers: int) -> "Pool":
    """The real pool.  Imported late: it brings torch."""
    from coordinator.evaluation.pool import EvaluationPool

    return EvaluationPool(workers)


async def _run(setup: Setup, pool: "Pool", ready: Callable[[], None] | None) -> None:
    service = await ReplicaService.open(setup, pool)
    gc.freeze()  # what is here now stays
    gc.set_threshold(GARBAGE_OBJECTS)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # whoever started this process takes care of it
        # In another thread than the main one signals are the caller's business.
        with contextlib.suppress(RuntimeError, ValueError):
            loop.add_signal_handler(number, service.stop)
    try:
        if ready is not None:
            ready()
        async with at_work():
            await service.run()
        log.info("stopped")
    finally:
        await service.close()


def _log_to(path: Path | None) -> None:
    """One line an event, UTC, to a file or to stderr."""
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gristmill").setLevel(logging.INFO)
