"""Training without network, and without writing anywhere but where its update goes.

Two of Linux' own means, both without any privilege and for good: Landlock takes away the right to
change the file system but below named directories, a seccomp filter takes away sockets.  What can
still be read is not hidden: the miner's key is protected by what the code can do with it, which is
nothing but to write it into an update.

bubblewrap or systemd-run would need a new process, and torch takes seconds to load; the trainer is
forked from one that has it (workshop.py).
Source: Linux Documentation/userspace-api/landlock.rst and seccomp_filter.rst; landlock(7).
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

from bft.errors import ConfigError

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

# Landlock: the same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_WRITING = 1 << 1 | sum(1 << right for right in range(4, 13))  # of the first version
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3

# seccomp: (audit name of the architecture, numbers of socket and io_uring_setup).
_ARCHITECTURES = {
    "x86_64": (0xC000003E, (41, 425)),
    "aarch64": (0xC00000B7, (198, 425)),
}
_X32 = 0x40000000  # numbers from here on are another way to say the same on x86_64
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld abs, jeq, jge, ret
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM

_libc = ctypes.CDLL(None, use_errno=True)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def confine(writable: Iterable[Path]) -> None:
    """For this thread, and all that it starts, for good.  Call it before there are others.

    Args:
        writable: directories in which files may be made, changed and removed; they exist.

    Raises:
        OSError: the kernel refuses, or has no such means; then nothing may be run here.
    """
    _must(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _no_writing_but(writable)
    _no_sockets()


def require_sandbox() -> None:
    """Try it in a child.  Call it in a process without threads.

    Raises:
        ConfigError: this machine cannot.
    """
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            confine(())
            os._exit(0)
        except OSError as error:
            os.write(send, str(error).encode()[:200])
        finally:
            os._exit(1)
    os.close(send)
    with os.fdopen(receive, "rb") as said:
        reason = said.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise ConfigError(f"no sandbox on this machine: {reason.decode() or 'the trial ended'}")


def _no_writing_but(writable: Iterable[Path]) -> None:
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    _must(version, "Landlock (Linux 5.13 or newer, not switched off)")
    rights = _WRITING | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = struct.pack("=Q", rights)
    rules = _libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    _must(rules, "Landlock's rules")
    try:
        for directory in writable:
            descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                beneath = struct.pack("=Qi", rights, descriptor)
                added = _libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, beneath, 0)
                _must(added, f"Landlock's rule for {directory}")
            finally:
                os.close(descriptor)
        _must(_libc.syscall(_RESTRICT_SELF, rules, 0), "Landlock")
    finally:
        os.close(rules)


def _no_sockets() -> None:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no system call filter for {machine}")
    architecture, refused = _ARCHITECTURES[machine]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _DENY),
    ]
    for number in refused:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    code.append((_RETURN, 0, 0, _ALLOW))
    packed = b"".join(struct.pack("=HBBI", *line) for line in code)
    program = _Filter(length=len(code), code=packed)
    done = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    _must(done, "a system call filter (seccomp)")


def _must(result: int, what: str) -> None:
    """Raises OSError: the call has failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
