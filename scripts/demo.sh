#!/usr/bin/env bash
# scripts/demo.sh [SOURCE] [--duration S] [--headless]: see the whole graph work; --help tells more.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# What the set-up says belongs to the log; stdout carries JSON alone.
"$here/setup.sh" 1>&2
# shellcheck source=scripts/env.sh
. "$here/env.sh"
exec python -m emotion_perception.bringup.demo "$@"
