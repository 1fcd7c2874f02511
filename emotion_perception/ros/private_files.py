"""Keep what a process creates from other local users: logs, and above all the images in shared memory.

A umask of 077 is enough for logs, but not for Fast DDS: it creates its shared memory by Boost.Interprocess, which sets
mode 0644 by ``fchmod`` after the creation, whatever the umask is. (There is no setting for that mode in its profiles.)
So a seccomp filter also turns each ``fchmod`` that would give group or others any right into one that does nothing and
succeeds. Other ways to change a mode (``chmod``, as the command uses) work as before. Child processes inherit both.

``python -m emotion_perception.ros.private_files COMMAND ...`` runs another program this way, such as a camera driver,
whose images lie in its own shared memory.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence

PRIVATE_UMASK = 0o077
# System call numbers (seccomp, fchmod) and audit code of the architecture, from <asm/unistd.h> and <linux/audit.h>.
_MACHINES = {"x86_64": (317, 91, 0xC000003E), "aarch64": (277, 52, 0xC00000B7)}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS, _NO_SPECULATION_PENALTY = 1, 1, 4
# Of <linux/bpf_common.h>, with 32-bit words throughout.
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _SECOND_ARGUMENT = 0, 4, 24  # offsets in struct seccomp_data, little endian
_ALLOW, _SUCCEED_WITHOUT_DOING = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def make_new_files_private() -> bool:
    """Make all files created from now on by this process and its children readable by this user only.

    Call it before ``rclpy.init`` and before threads are started; a second call changes nothing.

    Returns:
        False if shared memory stays readable: not Linux on x86-64 or arm64, or a kernel without seccomp filters.
    """
    os.umask(PRIVATE_UMASK)
    machine = _MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or machine is None:
        return False
    if not _widening_is_ignored():  # it is, where the parent process has asked for it
        _ignore_widening_fchmod(machine)
    return _widening_is_ignored()


def _widening_is_ignored() -> bool:
    descriptor = os.memfd_create("private_files", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.fchmod(descriptor, 0o644)
        return os.fstat(descriptor).st_mode & 0o777 == 0o600
    finally:
        os.close(descriptor)


def _ignore_widening_fchmod(machine: tuple[int, int, int]) -> None:
    seccomp, fchmod, architecture = machine
    instructions = b"".join(
        struct.pack("HBBI", code, if_true, if_false, value)
        for code, if_true, if_false, value in (
            (_LOAD, 0, 0, _ARCHITECTURE),
            (_JUMP_EQUAL, 0, 5, architecture),
            (_LOAD, 0, 0, _NUMBER),
            (_JUMP_EQUAL, 0, 3, fchmod),
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_JUMP_ANY_BIT, 0, 1, PRIVATE_UMASK),
            (_RETURN, 0, 0, _SUCCEED_WITHOUT_DOING),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:  # without this only root may install a filter
        return
    for flags in (_ALL_THREADS | _NO_SPECULATION_PENALTY, _ALL_THREADS):  # the second for kernels before 4.17
        if libc.syscall(seccomp, _SET_MODE_FILTER, flags, ctypes.byref(program)) == 0:
            return


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with private files; see the module's documentation."""
    command = sys.argv[1:] if argv is None else list(argv)
    if not command:
        print("usage: python -m emotion_perception.ros.private_files COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    if not make_new_files_private():
        print("private_files: shared memory stays readable for other users on this system", file=sys.stderr)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"private_files: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
