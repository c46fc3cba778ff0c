"""Removes rights that a prediction never needs: network, processes, writing files, more memory.

A warning names each measure that the kernel or the container refuses; the other measures still apply. The process can
still read the files that its user may read.
"""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_EVERY_THREAD = 1
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | 1
_UNKNOWN_CALL = 0x00050000 | 38
_CLONE_THREAD = 0x10000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16
_FOREIGN_TABLE = 0x40000000
_CAPABILITY_VERSION = 0x20080522
_READ_SEARCH = 1 << 2
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_BENEATH = 1
_LANDLOCK_VERSION_FLAG = 1
# Executing, writing, removing and creating of every kind; reading stays allowed, since modules are still imported.
_WRITING_BITS = 0b1_1111_1111_0011
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_EXECUTE = 1

# Architecture -> (the kernel's name, seccomp's number, denied system calls, system calls by role).
_DENIED: dict[str, tuple[int, int, tuple[int, ...], dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        317,
        # socket, connect, sendto, sendmsg, bind, listen, socketpair, fork, vfork, execve, ptrace, mount,
        # add_key, request_key, keyctl, tkill, unshare, perf_event_open, setns, process_vm_readv, …writev, bpf,
        # execveat, userfaultfd, pidfd_send_signal, io_uring_setup, pidfd_open
        (41, 42, 44, 46, 49, 50, 53, 57, 58, 59, 101, 165, 248, 249, 250, 200, 272, 298, 308, 310, 311, 321, 322,
         323, 424, 425, 434),
        {"clone": 56, "clone3": 435, "kill": 62, "tgkill": 234},
    ),
    "aarch64": (
        0xC00000B7,
        277,
        (198, 203, 206, 211, 200, 201, 199, 221, 117, 40, 217, 218, 219, 130, 97, 241, 268, 270, 271, 280, 281, 282,
         424, 425, 434),
        {"clone": 220, "clone3": 435, "kill": 129, "tgkill": 131},
    ),
}  # fmt: skip


def limit_resources(*, memory_bytes: int, cpu_seconds: int, file_size_bytes: int) -> None:
    """Limit the resources of the process from now on; `memory_bytes` is in addition to its current memory."""
    # The kernel can limit the address space; the libraries' large part is already allocated.
    resource.setrlimit(resource.RLIMIT_AS, (_address_space_bytes() + memory_bytes,) * 2)
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + cpu_seconds, spent + cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def give_way(niceness: int) -> None:
    """Lower the priority of this process: for the CPU, and when the kernel runs out of memory."""
    os.nice(niceness)
    with contextlib.suppress(OSError):
        # A container without a writable /proc still has its own memory limit.
        Path("/proc/self/oom_score_adj").write_text("1000")


def deny_access(*, writable: Path | None = None) -> list[str]:
    """Deny network, new processes, and writes outside `writable`; return a warning for each refused measure."""
    libc = ctypes.CDLL(None, use_errno=True)
    measures: tuple[tuple[str, Callable[[Any], None]], ...] = (
        ("the powers of root (capabilities)", _drop_capabilities),
        ("writing files (Landlock)", lambda libc: _deny_writing(libc, writable)),
        ("network and processes (seccomp)", _deny_system_calls),
    )
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return [f"The load test could not give up privileges ({os.strerror(ctypes.get_errno())})."]
    warnings: list[str] = []
    for what, measure in measures:
        try:
            measure(libc)
        except OSError as error:
            warnings.append(f"The kernel did not let the load test deny {what}: {error.strerror or error}.")
    return warnings


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _drop_capabilities(libc: Any) -> None:
    """Drop all capabilities except reading, which an artifact of another owner may need."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    held = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, held))
    # Two sets (effective, permitted, inheritable): for capabilities below 32, and for those above.
    effective, permitted, *_ = struct.unpack("=6I", held.raw)
    kept = effective & permitted & _READ_SEARCH
    _checked(libc.capset(header, ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0), 24)))


def _deny_writing(libc: Any, writable: Path | None) -> None:
    version = _checked(libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION_FLAG))
    denied = _WRITING_BITS | (_REFER if version > 1 else 0) | (_TRUNCATE if version > 2 else 0)
    attribute = ctypes.create_string_buffer(struct.pack("=Q", denied), 8)
    ruleset = _checked(libc.syscall(_LANDLOCK_CREATE, attribute, 8, 0))
    try:
        if writable is not None:
            _allow_beneath(libc, ruleset, writable, denied & ~_EXECUTE)
        _checked(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow_beneath(libc: Any, ruleset: int, directory: Path, allowed: int) -> None:
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        # struct landlock_path_beneath_attr, which is packed.
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, handle), 12)
        _checked(libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_BENEATH, rule, 0))
    finally:
        os.close(handle)


def _deny_system_calls(libc: Any) -> None:
    try:
        _filter_system_calls(libc)
    except OSError:
        # Fallback: no new processes, and so no new threads, which ordinary code may need.
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        raise


def _filter_system_calls(libc: Any) -> None:
    known = _DENIED.get(platform.machine())
    if known is None:
        raise OSError(f"no table of system calls for {platform.machine()}")
    architecture, seccomp, denied, roles = known
    program = _program(architecture, denied, roles, own_process=os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a length and, aligned, a pointer.
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(code))
    filter_header = ctypes.create_string_buffer(header, len(header))
    _checked(libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_EVERY_THREAD, filter_header))


def _program(architecture: int, denied: tuple[int, ...], roles: dict[str, int], *, own_process: int) -> bytes:
    """Return the filter as classic BPF, in which a jump gives the number of skipped instructions."""
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_AT_LEAST, 0, 1, _FOREIGN_TABLE),
        (_RETURN, 0, 0, _DENY),
        # If clone3 is unknown, libc uses clone, whose flags a filter can read.
        (_EQUAL, 0, 1, roles["clone3"]),
        (_RETURN, 0, 0, _UNKNOWN_CALL),
        (_EQUAL, 0, 4, roles["clone"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    for signal_call in ("kill", "tgkill"):
        # abort() signals its own process, which is how native code crashes.
        steps += [
            (_EQUAL, 0, 4, roles[signal_call]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
            (_EQUAL, 0, 1, own_process),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _DENY),
        ]
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
