#!/usr/bin/env bash
# Renew the lock files of requirements/: dev.lock is the one resolution, the smaller profiles are parts of it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/lock.sh [UV OPTION...]

Resolves requirements/*.in for Python 3.10 to 3.13 on x86-64 and arm64 into requirements/dev.lock, cuts core.lock, robot.lock,
archive.lock and learn.lock out of it, and records which wheels the package index has for robot (wheels.txt, which the tests read).
Versions stay as they are unless a requirement changed or an option says otherwise. Needs uv, and Python 3.11 or newer.

Examples:
  scripts/lock.sh                                # after a change of a .in file
  scripts/lock.sh --upgrade-package openvino
  scripts/lock.sh --upgrade
TEXT
}
case ${1:-} in -h | --help) usage; exit 0 ;; esac

scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$scripts/../requirements"
options=(--universal --python-version 3.10 --no-header --quiet)
uv pip compile "${options[@]}" --no-emit-index-url --no-emit-find-links --override overrides.in "$@" \
    ros.in robot.in archive.in learn.in dev.in -o dev.lock
python3 "$scripts/split_lock.py" .
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
uv pip compile "${options[@]}" --no-deps --format pylock.toml robot.lock -o "$scratch/pylock.toml"
python3 "$scripts/split_lock.py" . --wheels-of "$scratch/pylock.toml"
