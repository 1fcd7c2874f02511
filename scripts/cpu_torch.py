"""Let torch's CUDA build start without NVIDIA's packages: ``python scripts/cpu_torch.py``.

The package index has torch for x86-64 only as a CUDA build, whose libraries need 5 GB of NVIDIA's. Networks are trained
on the CPU here, so each missing library is replaced by a small one of the same name whose functions all return an
error; torch then reports that there is no GPU. Needs a C compiler and binutils. Does nothing where the CUDA packages
are installed (torch looks for them first, even if they come later), where torch is a CPU build, and the second time.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

NVIDIA = re.compile(r"lib(cu(?!da\.so)|nccl|nv)")  # libraries of NVIDIA's packages; libcuda.so.1 is the driver's
UNVERSIONED = re.compile(r"(cu[A-Z_a-z]|nccl|nvshmem|nvrtc|nvtx)")  # their functions without a symbol version
NO_DEVICE = 100  # cudaErrorNoDevice


def missing_symbols(folder: Path, elsewhere: set[str]) -> dict[str, dict[str, list[str]]]:
    """Library name -> symbol version -> functions, which torch's libraries in a folder need and nobody has.

    Args:
        folder: ``torch/lib``.
        elsewhere: names of libraries in NVIDIA's packages.
    """
    libraries = sorted(folder.glob("*.so*"))
    there = {library.name for library in libraries} | elsewhere
    needed: set[str] = set()
    file_of_version: dict[str, str] = {}
    wanted: dict[str, str] = {}
    defined: set[str] = set()
    for library in libraries:
        command = ["readelf", "--wide", "--dynamic", "--version-info", "--dyn-syms", str(library)]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        needed.update(re.findall(r"\(NEEDED\).*\[(.+?)\]", listing))
        file = ""
        for found in re.finditer(r"File: (\S+)|Name: (\S+)\s+Flags", listing):
            file = found[1] or file
            if found[2]:
                file_of_version[found[2]] = file
        for columns in (line.split() for line in listing.splitlines()):
            if len(columns) < 8 or not re.fullmatch(r"\d+:", columns[0]):
                continue
            name, _, version = columns[7].partition("@")
            if columns[6] != "UND":
                defined.add(name)
            elif columns[4] != "WEAK":
                wanted.setdefault(name, version)
    missing = sorted(name for name in needed - there if NVIDIA.match(name))
    symbols: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in missing}
    for name in sorted(wanted.keys() - defined):
        version = wanted[name]
        library_name = file_of_version.get(version, "") if version else ""
        if library_name in symbols:
            symbols[library_name][version].append(name)
        elif missing and not version and UNVERSIONED.match(name):
            symbols[missing[0]][""].append(name)  # any library may define it: these are looked up in all
    return symbols


def write_stub(path: Path, versions: dict[str, list[str]]) -> None:
    """Compile a shared library at ``path`` with the functions of each symbol version.

    Raises:
        subprocess.CalledProcessError: the compiler failed.
    """
    functions = [name for names in versions.values() for name in names]
    source = "".join(
        f"int {name}(int *count) {{ *count = 0; return {NO_DEVICE}; }}\n"
        if name == "cudaGetDeviceCount"
        else f"int {name}(void) {{ return {NO_DEVICE}; }}\n"
        for name in functions
    )
    script = "".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in versions.items() if version)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "stub.c").write_text(source)
        Path(scratch, "stub.map").write_text(script)
        options = [f"-Wl,--version-script={scratch}/stub.map"] if script else []
        soname = f"-Wl,-soname,{path.name}"
        command = ["cc", "-shared", "-fPIC", "-w", soname, *options, "-o", str(path), f"{scratch}/stub.c"]
        subprocess.run(command, check=True)


def main() -> None:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("torch is not installed in this environment")
    torch = Path(spec.origin).parent
    in_packages = {path.name for path in torch.parent.glob("nvidia/*/lib/*.so*")}
    symbols = missing_symbols(torch / "lib", in_packages)
    for name, versions in symbols.items():
        write_stub(torch / "lib" / name, versions)
    print(f"{len(symbols)} CUDA libraries replaced" if symbols else "nothing to replace")


if __name__ == "__main__":
    main()
