"""The one module that imports etcd3: reads, writes, compare-and-swap, leases, all with timeouts.

etcd is never trusted for safety: what is read here is checked by signatures, and a lock is a
matter of liveness.  So there is no lock here (etcd3's is broken with today's tenacity, and a lease
gives no mutual exclusion anyway) and no watch (etcd3's spins and forgets after a server restart).

etcd3 0.12.0 is the last release (2020).  Its generated code works with today's protobuf only
through protobuf's pure Python implementation, which must be chosen before the first import of
google.protobuf: importing this module does so, or says clearly that it came too late.

Synchronous and safe to share among threads; from asyncio call it with `asyncio.to_thread`.  Open a
client after forking, never before: gRPC does not survive a fork.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bft.errors import Busy, ConfigError, Refused, Unavailable

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

from google.protobuf.internal import api_implementation

if api_implementation.Type() != "python":
    raise ConfigError(
        f"google.protobuf was loaded with its {api_implementation.Type()!r} implementation; etcd3 "
        "needs 'python'.  Import deploy.etcd before anything that uses protobuf, or set "
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python for the process"
    )

import grpc

with warnings.catch_warnings():
    # One deprecation per message of the generated code; nothing that we could change.
    warnings.simplefilter("ignore", DeprecationWarning)
    import etcd3
    import etcd3.exceptions

VALUE_BYTES_MAX = 64 * 1024
RESPONSE_BYTES_MAX = 1024 * 1024
ENDPOINTS_MAX = 16
TIMEOUT_S = 5
ABSENT = 0
"""The revision of a key that does not exist, for `compare_and_swap`."""


@dataclass(frozen=True)
class Tls:
    """Files for mutual TLS.  etcd knows us by the common name of `certificate`."""

    authority: Path  # PEM, who signed the servers' certificates
    certificate: Path  # PEM, ours
    key: Path  # PEM, ours
    server_name: str | None = None  # in the servers' certificates, if it is not the address


@dataclass(frozen=True)
class Value:
    """What stands under a key."""

    data: bytes
    revision: int  # of the last write; `compare_and_swap` expects it
    created: int  # revision at which the key began to exist; a fencing token
    lease: int  # id, 0: none


@dataclass(frozen=True)
class Lease:
    """A time to live that keys can be bound to.  It bounds liveness, it does not exclude anyone."""

    id: int
    ttl_s: int  # what the server granted, at least what was asked for


@dataclass(frozen=True)
class Standing:
    """What etcd says of itself.  A restored copy has a lower revision, or another cluster id."""

    cluster: int  # id
    revision: int  # of the newest write of anybody


class EtcdClient:
    """See `open_client`.  Every call ends within `timeout_s` seconds.

    Every method raises:
        Unavailable: no connection, or no answer in time.  Then the outcome of a write is unknown:
            read before you write again.
        Busy: etcd refuses because of its own limits.
        ConfigError: etcd does not let us in, or not to this key.
    """

    def __init__(self, client: Any, name: str, timeout_s: int) -> None:
        self._client, self._name, self._timeout_s = client, name, timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; no call may follow."""
        self._client.close()

    def get(self, key: bytes) -> Value | None:
        """The value under `key` as a majority of etcd's members knows it; None: there is none."""
        with self._errors():
            found = self._client.get_response(key)
        if not found.kvs:
            return None
        pair = found.kvs[0]
        return Value(
            data=pair.value,
            revision=pair.mod_revision,
            created=pair.create_revision,
            lease=pair.lease,
        )

    def put(self, key: bytes, data: bytes, *, lease: Lease | None = None) -> None:
        """Writes, whatever stood there.

        Raises:
            ValueError: more than VALUE_BYTES_MAX bytes.
            Refused: "not-found", the lease has ended.
        """
        _check_size(data)
        with self._errors():
            self._client.put(key, data, lease=lease.id if lease else None)

    def compare_and_swap(
        self, key: bytes, data: bytes, *, expected: int, lease: Lease | None = None
    ) -> bool:
        """Writes if `key` was last written at revision `expected` (ABSENT: if it is not there).

        Returns:
            False if another write came first; nothing was written then.

        Raises:
            ValueError, Refused: as `put`.
        """
        _check_size(data)
        act = self._client.transactions
        with self._errors():
            swapped, _ = self._client.transaction(
                compare=[act.mod(key) == expected],
                success=[act.put(key, data, lease=lease.id if lease else None)],
                failure=[],
            )
        return bool(swapped)

    def put_if(
        self, key: bytes, data: bytes, *, expected: int, held: Mapping[bytes, int]
    ) -> int | None:
        """As `compare_and_swap`, if besides each key of `held` began to exist at its revision.

        All of it is one transaction.  ABSENT in `held`: that key must not be there.

        Returns:
            The revision of the write; None if it was not done.

        Raises:
            ValueError: as `put`.
        """
        _check_size(data)
        act = self._client.transactions
        with self._errors():
            done, answers = self._client.transaction(
                compare=[
                    act.mod(key) == expected,
                    *(act.create(other) == created for other, created in held.items()),
                ],
                success=[act.put(key, data), act.get(key)],
                failure=[],
            )
        return int(answers[1][0][1].mod_revision) if done else None

    def standing(self, key: bytes) -> Standing:
        """Which cluster answers, and how far it has come.  `key`: one that we may read."""
        with self._errors():
            header = self._client.get_response(key).header
        return Standing(cluster=int(header.cluster_id), revision=int(header.revision))

    def delete(self, key: bytes) -> bool:
        """Whether there was something to delete."""
        with self._errors():
            return bool(self._client.delete(key))

    def grant_lease(self, ttl_s: int) -> Lease:
        """A new lease of at least `ttl_s` seconds."""
        if ttl_s < 1:
            raise ValueError(f"ttl_s is {ttl_s}; it must be at least 1")
        with self._errors():
            granted = self._client.lease(ttl_s)
        return Lease(id=granted.id, ttl_s=granted.ttl)

    def keep_alive(self, lease: Lease) -> int:
        """Seconds that the lease has from now on, as renewed.

        Raises:
            Refused: "not-found", the lease has ended, and its keys are gone.
        """
        with self._errors():
            left = [int(answer.TTL) for answer in self._client.refresh_lease(lease.id)]
        if not left or left[0] <= 0:
            raise Refused("not-found", f"etcd lease {lease.id:x} has ended")
        return left[0]

    def revoke(self, lease: Lease) -> None:
        """Ends the lease and deletes its keys.  Raises Refused: "not-found", it had ended."""
        with self._errors():
            self._client.revoke_lease(lease.id)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """etcd3's and gRPC's errors -> ours."""
        try:
            yield
        except etcd3.exceptions.ConnectionTimeoutError as error:
            raise Unavailable(f"{self._name} did not answer in {self._timeout_s} s") from error
        except etcd3.exceptions.Etcd3Exception as error:
            raise Unavailable(f"{self._name}: {_reason(error)}") from error
        except grpc.RpcError as error:
            text = f"{self._name}: {_reason(error)}"
            code = error.code()
            if code == grpc.StatusCode.NOT_FOUND:
                raise Refused("not-found", text) from error
            if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise Busy(text) from error
            if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
                raise ConfigError(text) from error
            raise Unavailable(text) from error


def open_client(
    endpoints: Sequence[str], *, tls: Tls | None = None, timeout_s: int = TIMEOUT_S
) -> EtcdClient:
    """A client of the etcd cluster at `endpoints`; the first call connects.

    Args:
        endpoints: "host:port", or several "IPv4:port" or several "[IPv6]:port", among which
            calls move on when a member fails (gRPC balances over addresses, not over names).
        tls: None means plain text, which is for loopback.
        timeout_s: for each call.

    Raises:
        ConfigError: no endpoint, too many, a name among several, several without a server name,
            or unreadable TLS files.
    """
    target = _target(endpoints)
    if timeout_s < 1:
        raise ConfigError(f"etcd timeout_s is {timeout_s}; it must be at least 1")
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
        ("grpc.lb_policy_name", "round_robin"),
    ]
    files: dict[str, str] = {}
    if tls is not None:
        if tls.server_name is None and len(endpoints) > 1:  # gRPC has one name for all of them
            raise ConfigError(
                f"etcd at {', '.join(endpoints)}: several need tls.server_name, a name that stands "
                "in the certificates of all of them"
            )
        for path in (tls.authority, tls.certificate, tls.key):
            if not path.is_file():
                raise ConfigError(f"etcd TLS file {path} is not there")
        if tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        files = {
            "ca_cert": str(tls.authority),
            "cert_cert": str(tls.certificate),
            "cert_key": str(tls.key),
        }
    host, _, port = target.rpartition(":")
    client = etcd3.client(host=host, port=port, timeout=timeout_s, grpc_options=options, **files)
    return EtcdClient(client, f"etcd at {', '.join(endpoints)}", timeout_s)


def _target(endpoints: Sequence[str]) -> str:
    """gRPC's name for them."""
    if not 1 <= len(endpoints) <= ENDPOINTS_MAX:
        raise ConfigError(f"{len(endpoints)} etcd endpoints; 1 to {ENDPOINTS_MAX} are possible")
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdigit() or not 1 <= int(port) <= 65535 or "/" in host:
            raise ConfigError(f"etcd endpoint {endpoint!r} is not host:port")
    if len(endpoints) == 1:
        return endpoints[0]
    if all(endpoint.startswith("[") for endpoint in endpoints):
        return "ipv6:" + ",".join(endpoints)
    if all(endpoint.replace(".", "").replace(":", "").isdigit() for endpoint in endpoints):
        return "ipv4:" + ",".join(endpoints)
    raise ConfigError(
        f"etcd endpoints {', '.join(endpoints)}: several must be all IPv4 or all [IPv6] addresses"
    )


def _check_size(data: bytes) -> None:
    if len(data) > VALUE_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes for etcd; at most {VALUE_BYTES_MAX} are allowed")


def _reason(error: BaseException) -> str:
    """gRPC's own words for `error`, which etcd3 hides in the cause."""
    inner = error if isinstance(error, grpc.RpcError) else error.__context__
    if isinstance(inner, grpc.RpcError):
        return f"{inner.code().name.lower()}: {inner.details()}"
    return str(error) or type(error).__name__
