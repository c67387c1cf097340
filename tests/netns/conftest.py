"""Hosts of their own need root; without it these tests are skipped, each with the reason."""

import pytest

from tests.netns import namespace

MISSING = namespace.missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hooks of a conftest see all items, also those of other directories."""
    for item in items:
        if item.get_closest_marker("netns") and MISSING is not None:
            item.add_marker(pytest.mark.skip(reason=MISSING))
