# The robot profile in a container: nodes, command line, dashboard. Two variants:
#   docker build -t emotion_perception .                                          # Debian, ROS 2 Jazzy from wheels (x86-64)
#   docker build -t emotion_perception --build-arg BASE=ros:jazzy-ros-base .      # a ROS 2 distribution (x86-64, arm64)
# Run (DDS needs the host's network and shared memory to talk to nodes outside):
#   docker run --rm --network host --ipc host --device /dev/video0 emotion_perception emotion-bringup --source webcam
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates cmake g++ gcc libgl1 libglib2.0-0 libportaudio2 make python3 python3-dev python3-pip python3-venv
COPY . /opt/emotion_perception
WORKDIR /opt/emotion_perception
RUN for ros in /opt/ros/*/setup.sh; do [ ! -e "$ros" ] || . "$ros"; done; bash scripts/setup.sh robot && rm -rf .cache log

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libportaudio2 python3 \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home --groups audio,video robot
COPY --from=build /opt/emotion_perception /opt/emotion_perception
USER robot
WORKDIR /home/robot
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s CMD ["/opt/emotion_perception/docker/entrypoint.sh", "python", "/opt/emotion_perception/docker/health.py"]
ENTRYPOINT ["/opt/emotion_perception/docker/entrypoint.sh"]
CMD ["emotion-bringup"]
