#!/usr/bin/env bash
# Runs a command with ROS 2 and the package in the environment.
set -e
. /opt/emotion_perception/scripts/env.sh
exec "$@"
