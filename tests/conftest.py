"""For all tests: none fails because it took long, and a parallel run begins with the long files."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient",
    settings.default,  # which is Hypothesis's own "ci" where there is a CI
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the workers of pytest-xdist, which must all come to the same order."""
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)  # stable, so that files stay whole
