"""Debian root folders, and commands in them, for ``scripts/dockerfile_in_chroot.py`` and ``scripts/test_arm64.py``.

Needs root and debootstrap. A command gets a mount namespace of its own, with /proc, /dev, an empty /tmp, /run and
/dev/shm, and this machine's name resolution and certificates. Like under Docker, none of these stays in the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATES_INSIDE = "/run/host-certificates.crt"  # not the usual place: installing ca-certificates rewrites that
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")
# What a package client needs to know of this machine's network.
NETWORK_VARIABLES = re.compile(r"(https?|no)_proxy|(PIP|UV)_(DEFAULT_)?(INDEX_URL|TIMEOUT|TRUSTED_HOST)", re.IGNORECASE)
CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
# $1 root folder, $2 folder inside, $3 user, then the command.
IN_NAMESPACE = f"""
root=$1; place=$2; user=$3; shift 3
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
for file in {" ".join(NETWORK_FILES)}; do
    if [ -e "$file" ]; then touch ".$file"; mount --bind "$(readlink -f "$file")" ".$file"; fi
done
if [ -e {CERTIFICATES} ]; then cp {CERTIFICATES} .{CERTIFICATES_INSIDE}; fi
exec chroot --userspec="$user" . sh -c 'cd "$1"; shift; exec "$@"' sh "$place" "$@"
"""


# dpkg-deb --extract would replace the links of a merged /usr (/lib -> usr/lib) by folders.
UNPACK = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"'


def require(*programs: str) -> None:
    """Exit with a message unless this runs as root and all programs are installed."""
    missing = [program for program in programs if not shutil.which(program)]
    if os.geteuid() or missing:
        sys.exit(f"this needs root{' and ' * bool(missing)}{', '.join(missing)} (Debian packages of these names)")


def make_root(folder: Path, suite: str, architecture: str = "", packages: Sequence[str] = ()) -> None:
    """Make a minimal Debian root folder, unless it is complete.

    Packages for another architecture are unpacked but not configured: under emulation that takes longer than everything
    else, and programs and libraries run without.

    Args:
        folder: what is there of an interrupted attempt is removed.
        suite: Debian release, such as ``bookworm``.
        architecture: Debian's name of another machine's architecture, such as ``arm64``. Empty: this machine's.
        packages: to be installed in addition.

    Raises:
        subprocess.CalledProcessError: debootstrap failed.
    """
    complete = folder / ".complete"
    if complete.exists():
        return
    # An interrupted debootstrap leaves /proc and /sys mounted there.
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)
    options = ["--variant=minbase", *([f"--include={','.join(packages)}"] if packages else [])]
    if architecture:
        options += [f"--arch={architecture}", "--foreign"]
    subprocess.run(["debootstrap", *options, suite, str(folder)], check=True)
    if architecture:
        for package in sorted((folder / "var/cache/apt/archives").glob("*.deb")):
            subprocess.run(["sh", "-ec", UNPACK, "sh", str(package), str(folder)], check=True)
    complete.touch()


def run_in(folder: Path, command: Sequence[str], user: str = "root", place: str = "/", **variables: str) -> None:
    """Run a command in a root folder.

    Args:
        folder: the root folder.
        command: program and arguments.
        user: by whom, a name known in the root folder.
        place: current folder, in the root folder.
        variables: environment variables. Otherwise the command has only PATH, HOME and what describes the network.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    network = {name: value for name, value in os.environ.items() if NETWORK_VARIABLES.fullmatch(name)}
    if CERTIFICATES.exists():
        network |= dict.fromkeys(CERTIFICATE_VARIABLES, CERTIFICATES_INSIDE)
    home = "/root" if user == "root" else f"/home/{user}"
    inside = {"PATH": PATH, "HOME": home, "DEBIAN_FRONTEND": "noninteractive", **network, **variables}
    namespace = ["unshare", "--mount", "sh", "-ec", IN_NAMESPACE, "sh", str(folder), place, user]
    subprocess.run([*namespace, *command], env=inside, check=True)
