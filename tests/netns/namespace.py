"""A host of its own: a network namespace with one interface, whose other end is a file descriptor.

The namespaces have no names and stand in no directory: they live as long as a process or a
descriptor holds them, so there is nothing to clean up after a crash.  Needs root; needs no `ip`.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HOSTS_MAX = 64
INTERFACE = b"far"
NETMASK = "255.255.255.0"

# Linux, uapi: sched.h, if_tun.h, sockios.h, if.h, if_arp.h.
_CLONE_NEWNET = 0x4000_0000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x4004_54CA, 0x0002, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_SIOCSIFHWADDR, _SIOCSARP = 0x8924, 0x8955
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_ARPHRD_ETHER = 1
_ATF_COMPLETE, _ATF_PERMANENT = 0x02, 0x04

_libc = ctypes.CDLL(None, use_errno=True)


class Host(NamedTuple):
    """What its maker holds."""

    namespace: int  # descriptor of the namespace
    tap: int  # non-blocking descriptor: one Ethernet frame a read or write


def address(host: int) -> str:
    """IPv4 address of a host."""
    return f"10.77.0.{host + 1}"


def hardware_address(host: int) -> bytes:
    """6 bytes; the last one tells the host."""
    return bytes((2, 0, 0, 0, 0, host + 1))


def missing() -> str | None:
    """What this machine lacks for hosts of our own, or None."""
    if sys.platform != "linux":
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is missing"
    try:
        host = make_host(0, 1)
    except OSError as error:
        return f"no network namespace can be made here: {error.strerror}"
    os.close(host.tap)
    os.close(host.namespace)
    return None


def make_host(host: int, hosts: int) -> Host:
    """One of `hosts` hosts.  The calling thread is in its own namespace again afterwards.

    Raises:
        OSError: not permitted, or no TAP devices in this kernel.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            return Host(made, _open_tap(host, hosts))
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def enter(path: str) -> None:
    """Sockets that the calling thread opens from now on are of the host behind `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, _CLONE_NEWNET))
    finally:
        os.close(descriptor)


def run_inside(path: str, target: Callable[..., int | None], *args: Any) -> int | None:
    """`target(*args)` on the host behind `path`; for a process of its own."""
    enter(path)
    return target(*args)


def _open_tap(host: int, hosts: int) -> int:
    """An interface with address and peers.  What one has to do to reach them is not learnt but
    written down: far hosts are behind routers, and a cut between them is silence, no error.
    """
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, _request("H", _IFF_TAP | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        hardware = struct.pack("=H6s8x", _ARPHRD_ETHER, hardware_address(host))
        fcntl.ioctl(asking, _SIOCSIFHWADDR, _request("16s", hardware))
        fcntl.ioctl(asking, _SIOCSIFADDR, _request("16s", _inet(address(host))))
        fcntl.ioctl(asking, _SIOCSIFNETMASK, _request("16s", _inet(NETMASK)))
        for name in (INTERFACE, b"lo"):
            fcntl.ioctl(asking, _SIOCSIFFLAGS, _request("H", _IFF_UP | _IFF_RUNNING, name))
        for peer in range(hosts):
            if peer != host:
                fcntl.ioctl(asking, _SIOCSARP, _neighbour(peer))
    return tap


def _request(form: str, value: Any, name: bytes = INTERFACE) -> bytes:
    """struct ifreq."""
    return struct.pack(f"=16s{form}", name, value).ljust(40, b"\0")


def _inet(ip: str) -> bytes:
    """struct sockaddr_in."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))


def _neighbour(peer: int) -> bytes:
    """struct arpreq."""
    hardware = struct.pack("=H6s8x", _ARPHRD_ETHER, hardware_address(peer))
    flags = struct.pack("=I", _ATF_COMPLETE | _ATF_PERMANENT)
    return _inet(address(peer)) + hardware + flags + bytes(16) + INTERFACE.ljust(16, b"\0")


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, os.strerror(number))
