#!/usr/bin/env bash
# Everything that a change must pass: set-up, style, types, import rules and all tests; the last line is pytest's.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/test.sh [--fast | --soak] [PYTEST ARGUMENT...]

Runs `scripts/setup.sh dev`, ruff, mypy, the import rules, then pytest: unit tests, node tests (real processes over DDS), end-to-end
tests. Each run uses a ROS domain of its own, on this machine only.

  --fast   leave out the end-to-end tests, the fault tests and those marked slow
  --soak   only the fault tests, with 30 minutes of stream time to watch the memory (about 8 minutes)

Examples:
  scripts/test.sh
  scripts/test.sh --fast -x
  scripts/test.sh test/nodes -k overlay     # with a path: only these tests
TEXT
}

fast=false
soak=false
arguments=()
paths=false
for argument in "$@"; do
    case $argument in
        --fast) fast=true ;;
        --soak) soak=true ;;
        -h | --help) usage; exit 0 ;;
        *)
            arguments+=("$argument")
            [ ! -e "${argument%%::*}" ] || paths=true
            ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
# shellcheck source=scripts/env.sh
. scripts/env.sh

# The dashboard's tests use a real browser; without one they are skipped with a reason.
install_chromium() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update && apt-get -q install -y --no-install-recommends chromium chromium-driver
}
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "installing Chromium for the dashboard's tests"
        install_chromium >.cache/chromium.log 2>&1 || echo "no Chromium (.cache/chromium.log): tests in a browser are skipped"
    fi
fi

# test/security/test_isolation.py traces system calls; without strace it is skipped and says so.
if ! command -v strace >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing strace for the isolation test"
    (apt-get -q update && apt-get -q install -y --no-install-recommends strace) >.cache/strace.log 2>&1 ||
        echo "no strace (.cache/strace.log): the isolation test is skipped"
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
export ROS_DOMAIN_ID="${EMOTION_TEST_DOMAIN_ID:-$((RANDOM % 90 + 10))}" # low numbers are commonly in use
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_LOG_DIR="$scratch/ros_log"
export MPLBACKEND=Agg MPLCONFIGDIR="$scratch/matplotlib" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

failed=()
check() { # title, command...
    local title="$1" start=$SECONDS
    shift
    if "$@"; then
        echo "$title: passed ($((SECONDS - start)) s)"
    else
        failed+=("$title")
        echo "$title: FAILED ($((SECONDS - start)) s)"
    fi
}
check "ruff check" ruff check --quiet .
check "ruff format" ruff format --check --quiet .
check "mypy" mypy
check "imports" lint-imports

if $soak; then
    export EMOTION_SOAK_MINUTES="${EMOTION_SOAK_MINUTES:-30}"
    arguments+=(test/faults)
    paths=true
fi

# Fast tests first, so that errors in the core show before the graph is started.
if ! $paths; then
    for path in test/*; do
        case $path in
            test/nodes | test/faults | test/end_to_end) ;;
            test/test_*.py) arguments+=("$path") ;;
            *) [ ! -d "$path" ] || ! compgen -G "$path/test_*.py" >/dev/null || arguments+=("$path") ;;
        esac
    done
    [ ! -d test/nodes ] || arguments+=(test/nodes)
    if [ -d test/faults ] && ! $fast; then arguments+=(test/faults); fi
    if [ -d test/end_to_end ] && ! $fast; then arguments+=(test/end_to_end); fi
fi
if $fast; then arguments+=(-m "not slow"); fi

status=0
python -m pytest "${arguments[@]}" || status=$?
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed, apart from the tests: ${failed[*]}" >&2
    status=1
fi
exit "$status"
