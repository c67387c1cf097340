"""The etcd of tests/deploy, for the trials here."""

from tests.deploy.conftest import etcd_endpoint

__all__ = ["etcd_endpoint"]
