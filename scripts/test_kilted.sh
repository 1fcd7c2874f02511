#!/usr/bin/env bash
# Run tests against ROS 2 Kilted: scripts/test_kilted.sh FOLDER [TEST ...]
#
# Makes a virtual environment with the Kilted wheels in FOLDER, builds emotion_msgs there and runs the tests (those of
# the nodes without any). Everything that is not ROS comes from .venv, so run scripts/setup.sh first. The repository
# and its Jazzy environment are not changed. Needs uv, cmake and a C++ compiler.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
folder="$(mkdir -p "$1" && cd "$1" && pwd)"
shift
main="${EMOTION_VENV:-$root/.venv}"
[ -x "$main/bin/python" ] || { echo "test_kilted: $main is missing; run scripts/setup.sh first" >&2; exit 1; }
uv="$(PATH="$main/bin:$PATH" command -v uv)" || { echo "test_kilted: uv is missing" >&2; exit 1; }
venv="$folder/venv"

# Variables of another ROS environment would lead to its packages.
while read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^(ROS_.*|_ROS_.*|AMENT_.*|CMAKE_PREFIX_PATH|COLCON_.*|PYTHONPATH|LD_LIBRARY_PATH)$' || true
)
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

if [ ! -e "$folder/.installed" ]; then
    "$uv" venv --quiet --python "$main/bin/python" "$venv"
    # The same packages as for Jazzy; Kilted has split ament_cmake_ros and dropped python_cmake_module.
    sed -e 's/^ros-jazzy-/ros-kilted-/' -e '/python-cmake-module/d' "$root/requirements/ros.in" > "$folder/requirements.in"
    echo ros-kilted-ament-cmake-ros-core >> "$folder/requirements.in"
    "$uv" pip install --quiet --requirement "$folder/requirements.in"
    site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
    # Searched last, so that the ROS packages of this environment come first.
    "$main/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' > "$site/zz_main_environment.pth"
    "$venv/bin/python" "$root/scripts/setup_helpers.py" repair-cmake
    touch "$folder/.installed"
fi

export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
cp -r "$root/emotion_msgs" "$folder/"
(cd "$folder" && "$venv/bin/python" -m colcon build --base-paths emotion_msgs --packages-select emotion_msgs --cmake-args \
    "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release)

site="$(cd "$venv/lib" && echo python3.*/site-packages)"
libraries="$folder/install/emotion_msgs/lib:$venv/lib"
for found in "$venv/lib/$site"/ros_*.libs; do libraries="$found:$libraries"; done
export LD_LIBRARY_PATH="$libraries" _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
export ROS_DISTRO=kilted ROS_VERSION=2 ROS_PYTHON_VERSION=3 ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
export AMENT_PREFIX_PATH="$folder/install/emotion_msgs:$venv" PYTHONPATH="$root:$folder/install/emotion_msgs/lib/$site"
export FASTDDS_DEFAULT_PROFILES_FILE="$root/config/fastdds.xml"
cd "$root"
exec "$venv/bin/python" -m pytest -q "${@:-test/nodes}"
