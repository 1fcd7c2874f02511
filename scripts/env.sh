# shellcheck shell=bash
# To be sourced (bash): `. scripts/env.sh` makes rclpy, emotion_msgs and the package's commands available in a shell.
# It uses what scripts/setup.sh made; it builds and downloads nothing.

_emotion_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
_emotion_venv="${EMOTION_VENV:-$_emotion_root/.venv}"

if [ ! -x "$_emotion_venv/bin/python" ] || [ ! -d "$_emotion_root/install/emotion_msgs" ]; then
    echo "env.sh: not set up yet; run scripts/setup.sh first" >&2
    unset _emotion_root _emotion_venv
    # shellcheck disable=SC2317
    return 1 2>/dev/null || exit 1
fi

# Prepend $2 to the colon-separated variable $1, unless it is already in it.
_emotion_prepend() {
    eval "_emotion_old=\"\${$1:-}\""
    case ":$_emotion_old:" in
        *":$2:"*) ;;
        *) export "$1=$2${_emotion_old:+:$_emotion_old}" ;;
    esac
}

# With a ROS 2 distribution: source the one that was used for the set-up, unless one is sourced already.
_emotion_ros="$(cat "$_emotion_venv/.emotion_perception/ros_prefix" 2>/dev/null || true)"
if [ -n "$_emotion_ros" ] && [ -z "${AMENT_PREFIX_PATH:-}" ]; then
    case $- in *u*) _emotion_strict=true ;; *) _emotion_strict=false ;; esac
    set +u # ROS' own scripts read unset variables
    # shellcheck disable=SC1091
    . "$_emotion_ros/setup.bash"
    if $_emotion_strict; then set -u; fi
fi

export VIRTUAL_ENV="$_emotion_venv"
_emotion_prepend PATH "$_emotion_venv/bin"
_emotion_prepend PATH "$_emotion_root/install/emotion_perception/lib/emotion_perception"

_emotion_site="$(cd "$_emotion_venv/lib" && echo python3.*/site-packages)"
if [ -d "$_emotion_venv/share/rclpy" ]; then
    # ROS 2 from wheels. They set LD_LIBRARY_PATH by starting Python a second time; if set here, it starts once. (The value
    # differs between environments, so it is set even if the guard of another environment is inherited.)
    for _emotion_libs in "$_emotion_venv/lib/$_emotion_site"/ros_*.libs "$_emotion_venv/lib"; do
        [ -d "$_emotion_libs" ] && _emotion_prepend LD_LIBRARY_PATH "$_emotion_libs"
    done
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    export ROS_DISTRO="${ROS_DISTRO:-jazzy}" ROS_VERSION=2 ROS_PYTHON_VERSION=3
    _emotion_prepend AMENT_PREFIX_PATH "$_emotion_venv"
fi
_emotion_prepend AMENT_PREFIX_PATH "$_emotion_root/install/emotion_msgs"
_emotion_prepend AMENT_PREFIX_PATH "$_emotion_root/install/emotion_perception"
_emotion_prepend LD_LIBRARY_PATH "$_emotion_root/install/emotion_msgs/lib"
_emotion_prepend PYTHONPATH "$_emotion_root/install/emotion_msgs/lib/$_emotion_site"
_emotion_prepend PYTHONPATH "$_emotion_root/build/emotion_perception"

export COLCON_DEFAULTS_FILE="$_emotion_root/colcon_defaults.yaml"
# A camera image does not fit Fast DDS' default shared-memory segment; see the comment in the profile.
# (The second name is that of Fast DDS 3, ROS 2 Kilted and newer.)
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$_emotion_root/config/fastdds.xml}"
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$FASTRTPS_DEFAULT_PROFILES_FILE}"
# Communicate on this machine only, unless set otherwise.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"

unset -f _emotion_prepend
unset _emotion_root _emotion_venv _emotion_ros _emotion_strict _emotion_site _emotion_libs _emotion_old
