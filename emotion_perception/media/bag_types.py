"""How the messages of a recording are decoded: the definitions in the bag, or known ones for old bags."""

from __future__ import annotations

from collections.abc import Sequence

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

# For old bags without definitions: messages that rosbags does not know.
DEFINITIONS = {
    "emotion_msgs/msg/AudioChunk": "std_msgs/Header header\nuint32 sample_rate\nuint8 channels\nint16[] samples\n",
    "foxglove_msgs/msg/RawAudio": (
        "builtin_interfaces/Time timestamp\nuint8[] data\nstring format\n"
        "uint32 sample_rate\nuint32 number_of_channels\n"
    ),
    "foxglove_msgs/msg/CompressedVideo": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    ),
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
        "bool is_bigendian\nuint8[] data\n"
    ),
}
DRIVERS_AUDIO = {  # ros-drivers' audio_common
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio\n",
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format\n"
    ),
}
MGONZS_AUDIO = {  # mgonzs13's package of the same name, recognised by AudioStamped, which ros-drivers' lacks
    "audio_common_msgs/msg/AudioData": (
        "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\nint8[] int8_data\nuint8[] uint8_data\n"
    ),
    "audio_common_msgs/msg/AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk\n",
    "audio_common_msgs/msg/Audio": ("audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info\n"),
    "audio_common_msgs/msg/AudioStamped": "std_msgs/Header header\naudio_common_msgs/Audio audio\n",
}


def typestore_of(connections: Sequence[Connection], connection: Connection) -> Typestore:
    """The decoder of one of the topics: by the definition in the bag or, without one, by those of Jazzy and known here.

    It decodes ROS 1 messages, too, whose bags always contain their definitions.
    """
    definition = connection.msgdef
    if definition.format == MessageDefinitionFormat.MSG:
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(definition.data, connection.msgtype))
        return store
    if definition.format == MessageDefinitionFormat.IDL:
        store = get_typestore(Stores.EMPTY)
        parts = [part.split("\n", 1)[1] for part in definition.data.split("=" * 80 + "\n") if part.startswith("IDL: ")]
        for part in parts or [definition.data]:
            store.register(get_types_from_idl(part))
        return store
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {c.msgtype for c in connections}
    audio_common = MGONZS_AUDIO if "audio_common_msgs/msg/AudioStamped" in types else DRIVERS_AUDIO
    for name, text in (DEFINITIONS | audio_common).items():
        store.register({k: v for k, v in get_types_from_msg(text, name).items() if k not in store.fielddefs})
    return store
