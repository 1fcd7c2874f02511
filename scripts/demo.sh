#!/usr/bin/env bash
# scripts/demo.sh [SOURCE] [--duration S] [--headless]: runs the whole graph; --help lists the options.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Messages of the set-up go to stderr; stdout carries JSON only.
"$here/setup.sh" robot 1>&2
# shellcheck source=scripts/env.sh
. "$here/env.sh"
exec python -m emotion_perception.bringup.demo "$@"
