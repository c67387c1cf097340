"""For all tests: none fails because it took long, and a parallel run begins with the long files."""

import logging
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient",
    settings.default,  # which is Hypothesis's own "ci" where there is a CI
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

RECURSION_LIMIT = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def _no_log_handler_outlives_its_test() -> Iterator[None]:
    """Commands that are called in this process log to streams that end with the test."""
    yield
    ours = logging.getLogger("gristmill")
    ours.propagate = True
    for logger in (logging.getLogger(), ours):
        for handler in logger.handlers[:]:
            if type(handler) in (logging.StreamHandler, logging.FileHandler):  # pytest's are others
                logger.removeHandler(handler)
                handler.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the workers of pytest-xdist, which must all come to the same order."""
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)  # stable, so that files stay whole


def pytest_collection_finish() -> None:
    """py_ecc, once imported, lets recursion go deeper than the stack of C code under it."""
    sys.setrecursionlimit(RECURSION_LIMIT)
