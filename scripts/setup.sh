#!/usr/bin/env bash
# Install and build everything that emotion_perception needs. Safe to repeat, also after an interruption; without
# changes, a second call only checks. See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/setup.sh [PROFILE] [--cuda] [--check] [--help]

Creates a virtual environment with the pinned packages, builds emotion_msgs and emotion_perception with colcon, and
generates the demo's built-in clip. If a ROS 2 distribution (Jazzy or newer) is sourced, it is used and only missing
packages are installed; otherwise ROS 2 Jazzy is installed from wheels (x86-64). Changed Python files need no new set-up.

PROFILE is what the environment is for. Each contains those before it:
  robot     the nodes, emotion-recognize, emotion-calibrate, emotion-bench, the dashboard (default; 0.9 GB)
  archive   and emotion-archive, for hours of recordings (1.2 GB)
  learn     and emotion-train, emotion-eval (3.1 GB)
  dev       and what scripts/test.sh needs (3.5 GB)
An environment grows with a larger PROFILE and never shrinks: without PROFILE it keeps the one it has.

  --cuda    learn on an NVIDIA GPU: install CUDA too (5 GB). Without, torch uses the CPU
  --check   report what is missing and what would be done; change nothing

Environment:
  EMOTION_VENV         folder of the virtual environment (default: .venv here)
  EMOTION_PYTHON       Python for a new environment, 3.10 to 3.13 (default: the environment's, or python3)
  EMOTION_MIN_DISK_GB  free disk space required for a first set-up (default: by profile, 2 to 6)

Examples:
  scripts/setup.sh && . scripts/env.sh && emotion-recognize --help
  scripts/setup.sh learn            # later, on the same environment: adds torch
  scripts/setup.sh dev --check      # what the tests would need
TEXT
}

check_only=false
cuda=false
wanted=robot
for argument in "$@"; do
    case $argument in
        robot | archive | learn | dev) wanted="$argument" ;;
        --cuda) cuda=true ;;
        --check) check_only=true ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

exec 1>&2 # stdout belongs to the caller (the demo prints JSON there)
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
venv="${EMOTION_VENV:-$root/.venv}"
case $venv in /*) ;; *) venv="$PWD/$venv" ;; esac
state="$venv/.emotion_perception" # completed steps, and the hashes of their inputs
cache="$root/.cache"
log="$cache/setup.log"
begin=$SECONDS
mkdir -p "$cache"

fail() {
    echo "setup: $*"
    exit 1
}

# ---------------------------------------------------------------------------------------------- which profile
rank_of() { case $1 in robot) echo 1 ;; archive) echo 2 ;; learn) echo 3 ;; dev) echo 4 ;; *) echo 0 ;; esac; }
installed="$(cat "$state/profile" 2>/dev/null || true)"
# An environment from before there were profiles has everything.
[ -n "$installed" ] || [ ! -e "$state/packages" ] || installed=dev
profile="$wanted"
[ "$(rank_of "$installed")" -le "$(rank_of "$wanted")" ] || profile="$installed"
[ ! -e "$state/cuda" ] || cuda=true
if $cuda && [ "$(rank_of "$profile")" -lt 3 ]; then fail "--cuda needs the profile learn or dev"; fi
lock="requirements/$profile.lock"
inputs=(requirements/robot.in) # what a distribution lacks is looked up here
[ "$(rank_of "$profile")" -lt 2 ] || inputs+=(requirements/archive.in)
[ "$(rank_of "$profile")" -lt 3 ] || inputs+=(requirements/learn.in)
[ "$(rank_of "$profile")" -lt 4 ] || inputs+=(requirements/dev.in)

# ---------------------------------------------------------------------------------------------- which ROS 2
# A prefix that has rclpy and is not a virtual environment is a distribution. (scripts/env.sh sets ROS_DISTRO too.)
distribution=""
if [ -n "${ROS_DISTRO:-}" ]; then
    IFS=: read -ra prefixes <<<"${AMENT_PREFIX_PATH:-}"
    for prefix in "${prefixes[@]}"; do
        if [ -d "$prefix/share/rclpy" ] && [ ! -e "$prefix/pyvenv.cfg" ]; then
            distribution="$prefix"
            break
        fi
    done
fi

# An existing environment keeps its Python, whatever `python3` is in this shell; a distribution's rclpy needs that
# distribution's Python.
venv_home="$(sed -n 's/^home *= *//p' "$venv/pyvenv.cfg" 2>/dev/null || true)"
if [ -n "${EMOTION_PYTHON:-}" ]; then
    python="$EMOTION_PYTHON"
elif [ -z "$distribution" ] && [ -n "$venv_home" ] && [ -x "$venv_home/python3" ]; then
    python="$venv_home/python3"
else
    python=python3
fi

# ---------------------------------------------------------------------------------------------- what changed
hash_of() { sha256sum | cut -c1-32; }
python_identity="$("$python" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)' 2>/dev/null || true)"
requirements=("$lock")
[ -z "$distribution" ] || requirements+=("${inputs[@]}")
! $cuda || requirements+=(requirements/cuda.lock)
place="$root|$venv|$distribution|$python_identity"
packages_hash="$({
    echo "$place"
    cat "${requirements[@]}"
} | hash_of)"
# A build for another location, or against other ROS wheels, is unusable.
place_hash="$({
    echo "$place"
    grep -E '^(ros-|numpy|setuptools)' "$lock"
} | hash_of)"
messages_hash="$({
    echo "$place_hash"
    find emotion_msgs -type f ! -name '*.rst' | LC_ALL=C sort | xargs sha256sum
} | hash_of)"
package_hash="$({
    echo "$place_hash"
    cat setup.py setup.cfg package.xml colcon_defaults.yaml
    { find launch config models -type f 2>/dev/null || true; } | LC_ALL=C sort # linked one by one: only names count
} | hash_of)"
clip="$venv/share/emotion_perception/demo_clip.mp4"

is_done() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
packages_done() { is_done "$state/packages" "$packages_hash" && [ -x "$venv/bin/python" ]; }
messages_done() { is_done install/.messages "$messages_hash" && is_done install/.place "$place_hash"; }
package_done() { is_done install/.package "$package_hash" && is_done install/.place "$place_hash"; }
build_done() { messages_done && package_done; }
package_commands_done() { grep -qsF "$root/scripts/env.sh" "$venv/bin/emotion-recognize"; }
clip_done() { [ -s "$clip" ] && [ "$clip" -nt emotion_perception/media/demo_clip.py ]; }
bytecode_done() { is_done "$state/bytecode" "$packages_hash $messages_hash"; }
finished() { packages_done && build_done && package_commands_done && clip_done && bytecode_done; }

if finished; then
    echo "setup: nothing to do"
    exit 0
fi

# ---------------------------------------------------------------------------------------------- what is missing
lacking=()        # one sentence each
debian=()         # Debian packages that provide it
warnings=()
lack() { # sentence, Debian package or nothing
    lacking+=("$1")
    [ -z "${2:-}" ] || debian+=("$2")
}
has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -F "$1" >/dev/null; }
free_gb() {
    local folder="$1"
    while [ ! -d "$folder" ]; do folder="$(dirname "$folder")"; done
    df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }'
}

look() {
    lacking=() debian=() warnings=()
    local version
    case ${ROS_DISTRO:-} in
        [a-i]*) lack "ROS 2 ${ROS_DISTRO} is sourced, Jazzy or newer is needed (or a shell with none sourced)" ;;
    esac
    if ! version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; then
        lack "no Python: '$python' does not run (set EMOTION_PYTHON)" python3
    else
        case $version in
            3.10 | 3.11 | 3.12 | 3.13) ;;
            *) lack "Python 3.10 to 3.13, found $version (set EMOTION_PYTHON to another one)" ;;
        esac
        if ! "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_paths()["include"] + "/Python.h")' 2>/dev/null; then
            lack "Python's headers (Python.h) for '$python'" python3-dev
        fi
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && ! uv --version >/dev/null 2>&1; then
            lack "Python's venv module for '$python'" python3-venv
        fi
    fi
    if ! command -v cmake >/dev/null; then
        lack "cmake" cmake
    elif ! cmake --version | awk 'NR == 1 { split($3, v, "."); exit !(v[1] > 3 || (v[1] == 3 && v[2] >= 16)) }'; then
        lack "cmake 3.16 or newer, found $(cmake --version | head -n 1)" cmake
    fi
    command -v c++ >/dev/null || command -v g++ >/dev/null || lack "a C++ compiler" g++
    command -v cc >/dev/null || command -v gcc >/dev/null || lack "a C compiler" gcc
    command -v make >/dev/null || lack "make" make
    if [ -z "$distribution" ] && [ "$(uname -m)" != x86_64 ]; then
        lack "ROS 2: its wheels exist for x86-64 only; source a ROS 2 distribution, or use the core (docs/installation.md)"
    fi
    has_library libGL.so.1 || lack "libGL.so.1 (OpenCV)" libgl1
    has_library libglib-2.0.so.0 || lack "libglib-2.0.so.0 (OpenCV)" libglib2.0-0
    if ! has_library libportaudio.so.2; then
        debian+=(libportaudio2)
        warnings+=("without libportaudio2 microphones cannot be used; files and topics work")
    fi
    if ! packages_done; then
        local need="${EMOTION_MIN_DISK_GB:-}"
        if [ -z "$need" ]; then
            case $profile in robot) need=2 ;; archive) need=3 ;; learn) need=5 ;; *) need=6 ;; esac
            ! $cuda || need=$((need + 6))
            # Installed packages are not stored twice.
            [ ! -d "$venv/lib" ] || [ "$installed" != "$profile" ] || need=2
        fi
        [ "$(free_gb "$venv")" -ge "$need" ] ||
            lack "$need GB of disk space for $venv, $(free_gb "$venv") GB are free (EMOTION_MIN_DISK_GB overrides)"
    fi
    if [ -d "$venv" ] && [ -n "$(ls -A "$venv")" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -d "$state" ]; then
        lack "$venv is a folder with other contents; EMOTION_VENV must be a new folder or a virtual environment"
    fi
}

report() {
    local line
    if [ ${#lacking[@]} -gt 0 ]; then
        echo "setup: this machine lacks:"
        for line in "${lacking[@]}"; do echo "  - $line"; done
    fi
    for line in "${warnings[@]}"; do echo "setup: note: $line"; done
    if [ ${#debian[@]} -gt 0 ]; then
        echo "setup: on Debian or Ubuntu: sudo apt-get install ${debian[*]}"
    fi
}

look
if $check_only; then
    report
    packages_done || echo "setup: would install profile $profile into $venv (ROS 2 from ${distribution:-wheels})"
    build_done || echo "setup: would build emotion_msgs and emotion_perception"
    clip_done || echo "setup: would make the built-in demo clip"
    [ ${#lacking[@]} -eq 0 ]
    exit
fi

# ---------------------------------------------------------------------------------------------- running steps
# One at a time: the demo and the tests may call this concurrently. The lock ends with the process, however it ends.
exec 9>"$cache/setup.lock"
if ! flock --nonblock 9; then
    echo "setup: another set-up is running here; waiting for it"
    flock 9
    if finished; then exit 0; fi
fi
: >"$log"

step() { # title, command...: prints one line with the duration; output goes to the log, and is shown on failure
    local title="$1" start=$SECONDS pid status=0 shown=0
    shift
    echo "== $title: $*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if [ -t 2 ]; then
            printf '\rsetup: %s ... %d s ' "$title" $((SECONDS - start))
        elif [ $((SECONDS - start)) -ge $((shown + 30)) ]; then
            shown=$((SECONDS - start))
            echo "setup: $title ... $shown s"
        fi
        sleep 0.2
    done
    wait "$pid" || status=$?
    [ ! -t 2 ] || printf '\r'
    if [ "$status" -ne 0 ]; then
        echo "setup: $title: failed after $((SECONDS - start)) s; last lines of $log:"
        tail -n 25 "$log" | sed 's/^/    /'
        exit 1
    fi
    echo "setup: $title: $((SECONDS - start)) s"
}

write_state() { # file, text; written completely or not at all
    printf '%s\n' "$2" >"$1.new"
    mv -f "$1.new" "$1"
}

# ---------------------------------------------------------------------------------------------- Debian packages
install_debian() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update && apt-get -q install -y --no-install-recommends "${debian[@]}"
}

if [ ${#debian[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    if [ ${#lacking[@]} -gt 0 ]; then
        step "Debian packages ${debian[*]}" install_debian
    else
        # Optional: continue without it.
        install_debian >>"$log" 2>&1 && echo "setup: Debian packages ${debian[*]}" || true
    fi
    look
fi
report
[ ${#lacking[@]} -eq 0 ] || exit 1

# ---------------------------------------------------------------------------------------------- Python packages
# Settings of another environment or a machine-wide constraint file must not change what is installed.
export PIP_CONSTRAINT="" UV_CONSTRAINT="" PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"
unset PIP_TARGET PIP_USER PYTHONHOME
[ -n "$distribution" ] || unset PYTHONPATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

python_of() { _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 "$1" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)'; }

make_environment() {
    local site=() stale=false
    [ -z "$distribution" ] || site=(--system-site-packages)
    mkdir -p "$state"
    # An installation was interrupted: a package may be incomplete.
    [ ! -e "$state/installing" ] || stale=true
    # Made for another ROS 2: its packages would hide those of this one.
    [ ! -e "$state/ros_prefix" ] || [ "$(cat "$state/ros_prefix")" = "$distribution" ] || stale=true
    if [ -e "$venv/bin/python" ] && [ "$(python_of "$venv/bin/python" || true)" != "$python_identity" ]; then
        stale=true
        if [ ! -e "$state/ours" ]; then
            echo "$venv has another Python than '$python': $python_identity. Remove it, or set EMOTION_PYTHON."
            return 1
        fi
    fi
    if $stale && [ -e "$state/ours" ]; then
        # Start again; downloads are cached. (If interrupted here, the next call repeats it.)
        touch "$state/installing"
        find "$venv" -mindepth 1 -maxdepth 1 ! -name .emotion_perception -exec rm -rf {} +
        rm -f "$state/ros_prefix" "$state/packages" "$state/profile"
    fi
    if ! python_of "$venv/bin/python" >/dev/null 2>&1; then
        [ -e "$venv/pyvenv.cfg" ] || write_state "$state/ours" yes
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            "$python" -m venv "${site[@]}" "$venv"
        else
            uv venv --allow-existing --seed --python "$python" "${site[@]}" "$venv"
        fi
    fi
}

find_uv() { # prints the path of uv; installs it into the environment if there is none; fails if that is impossible
    if uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    "$venv/bin/python" -m pip --version >>"$log" 2>&1 || "$venv/bin/python" -m ensurepip >>"$log" 2>&1 || return 1
    [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet "uv>=0.5" >>"$log" 2>&1 || return 1
    "$venv/bin/uv" --version >/dev/null && echo "$venv/bin/uv"
}

other_opencv() { # names of OpenCV wheels that share the folder cv2 with opencv-python
    local name
    for name in opencv_python_headless opencv_contrib_python opencv_contrib_python_headless; do
        if compgen -G "$venv/lib/python3*/site-packages/$name-*.dist-info" >/dev/null; then echo "${name//_/-}"; fi
    done
}

install_packages() {
    local uv others cut_off=false
    [ ! -e "$state/installing" ] || cut_off=true
    touch "$state/installing"
    rm -f "$state/packages"
    # Otherwise its .pth file would start each Python below twice.
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    mapfile -t others < <(other_opencv)
    if [ -n "$distribution" ]; then
        "$venv/bin/python" scripts/setup_helpers.py install-missing --lock "$lock" \
            --constraints "$state/constraints.txt" "${inputs[@]}"
    elif uv="$(find_uv)"; then
        # The lock is complete, so nothing is resolved here.
        local options=(--python "$venv/bin/python" --no-deps --requirement "$lock")
        ! $cuda || options+=(--requirement requirements/cuda.lock)
        if [ ${#others[@]} -gt 0 ]; then
            "$uv" pip uninstall --python "$venv/bin/python" "${others[@]}"
            options+=(--reinstall-package opencv-python)
        fi
        ! $cut_off || options+=(--reinstall)
        "$uv" pip install "${options[@]}"
    else
        echo "uv is not available; using pip, which is slower"
        [ ${#others[@]} -eq 0 ] || "$venv/bin/python" -m pip uninstall --yes "${others[@]}" opencv-python
        "$venv/bin/python" -m pip install --no-deps --requirement "$lock"
        ! $cuda || "$venv/bin/python" -m pip install --no-deps --requirement requirements/cuda.lock
    fi
    if [ -z "$distribution" ]; then
        "$venv/bin/python" scripts/setup_helpers.py repair-cmake
    fi
    if [ "$(rank_of "$profile")" -ge 3 ]; then
        case $(uname -m) in x86_64) "$venv/bin/python" scripts/cpu_torch.py ;; esac
        "$venv/bin/python" -c 'import torch'
    fi
    "$venv/bin/python" -c 'import cv2, numpy, openvino' # fail here rather than during the first demo
    ! $cuda || write_state "$state/cuda" yes
    write_state "$state/profile" "$profile"
    write_state "$state/ros_prefix" "$distribution"
    rm -f "$state/installing"
    write_state "$state/packages" "$packages_hash"
}

if ! packages_done; then
    step "virtual environment" make_environment
    step "Python packages of profile $profile" install_packages
fi

# ---------------------------------------------------------------------------------------------- colcon build
build() { # package, its state file, its hash
    if ! is_done install/.place "$place_hash"; then
        rm -rf build install log
        mkdir install
        write_state install/.place "$place_hash"
    fi
    rm -f "$2"
    export PATH="$venv/bin:$PATH" COLCON_DEFAULTS_FILE="$root/colcon_defaults.yaml"
    if [ -z "$distribution" ]; then
        export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
        unset COLCON_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
    fi
    local options=("-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release)
    [ -n "$distribution" ] || options+=(-DEMOTION_MSGS_PYTHON_ONLY=ON)
    "$venv/bin/python" -m colcon build --packages-select "$1" --cmake-args "${options[@]}"
    write_state "$2" "$3"
}

messages_done || step "emotion_msgs (colcon)" build emotion_msgs install/.messages "$messages_hash"
package_done || step "emotion_perception (colcon)" build emotion_perception install/.package "$package_hash"

# The commands, for users who activate the environment instead of sourcing scripts/env.sh.
make_commands() {
    local script command
    for script in install/emotion_perception/lib/emotion_perception/emotion-*; do
        command="$venv/bin/${script##*/}"
        write_state "$command" "#!/usr/bin/env bash
EMOTION_VENV='$venv'
. '$root/scripts/env.sh' && exec '$root/$script' \"\$@\""
        chmod +x "$command"
    done
}
package_commands_done || make_commands

make_clip() {
    unset AMENT_PREFIX_PATH
    PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$venv/bin/python" -m emotion_perception.media.demo_clip "$clip"
}
clip_done || step "demo clip" make_clip

# If Python cannot write bytecode next to the libraries (PYTHONDONTWRITEBYTECODE, another user's folder), each process
# of the graph compiles them at every start, which doubles the start-up time.
make_bytecode() {
    unset PYTHONDONTWRITEBYTECODE
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    python scripts/setup_helpers.py load-runtime || echo "some modules could not be loaded; they are compiled at start"
    write_state "$state/bytecode" "$packages_hash $messages_hash"
}
bytecode_done || step "bytecode" make_bytecode

echo "setup: profile $profile is ready after $((SECONDS - begin)) s, $(du -sm "$venv" | cut -f1) MB in $venv;" \
    "next: scripts/demo.sh, or . scripts/env.sh for a shell"
