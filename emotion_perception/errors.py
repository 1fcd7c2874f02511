"""Errors that the core raises, and what to install where a package is missing."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

# Install profile of the packages that `robot` lacks (requirements/*.in).
PROFILE_OF_PACKAGE = {
    "duckdb": "archive",
    "pyarrow": "archive",
    "sklearn": "archive",
    "matplotlib": "learn",
    "nncf": "learn",
    "onnx": "learn",
    "safetensors": "learn",
    "torch": "learn",
    "torchvision": "learn",
    "ray": "dev",
    "vaderSentiment": "dev",
}


class ModelError(RuntimeError):
    """A model file is missing, corrupt or of the wrong kind; the message names its path."""


def missing_package(error: ImportError) -> str:
    """One line for users: which package an import lacks, and the install profile that has it."""
    package = (error.name or "").partition(".")[0]
    if profile := PROFILE_OF_PACKAGE.get(package):
        return f"needs the package {package} of the install profile {profile}: run `scripts/setup.sh {profile}`"
    return f"needs the package {package}, which is not installed" if package else str(error)


def explains_missing_packages(main: Callable[..., int]) -> Callable[..., int]:
    """Decorate a command's ``main``: a package of a larger install profile is named in one line; exit code 2."""

    @functools.wraps(main)
    def explained(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in PROFILE_OF_PACKAGE:
                raise
            command = main.__module__.rpartition(".")[2].replace("evaluate", "eval")
            print(f"emotion-{command} {missing_package(error)}", file=sys.stderr)
            return 2

    return explained
