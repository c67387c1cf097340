"""A real etcd on loopback for the tests that need one."""

from collections.abc import Iterator

import pytest

from deploy.etcd import EtcdClient, open_client
from tests.deploy.etcd_server import running_etcd


@pytest.fixture(scope="session")
def etcd_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of an etcd that lives as long as the test session."""
    with running_etcd(tmp_path_factory.mktemp("etcd"), None) as endpoint:
        yield endpoint


@pytest.fixture
def etcd(etcd_endpoint: str) -> Iterator[EtcdClient]:
    with open_client([etcd_endpoint]) as client:
        yield client
