"""Definitions of other packages' messages that our optional outputs speak, as their own files have them."""

from __future__ import annotations

# hri_msgs 2.0.0.
EXPRESSIONS = [
    "neutral",
    "angry",
    "sad",
    "happy",
    "surprised",
    "disgusted",
    "scared",
    "pleading",
    "vulnerable",
    "despaired",
    "guilty",
    "disappointed",
    "embarrassed",
    "horrified",
    "skeptical",
    "annoyed",
    "furious",
    "suspicious",
    "rejected",
    "bored",
    "tired",
    "asleep",
    "confused",
    "amazed",
    "excited",
]
HRI_MSGS = {
    "Expression": "\n".join(
        [
            *(f'string {name.upper()}="{name}"' for name in EXPRESSIONS),
            "std_msgs/Header header",
            "string expression",
            "float32 valence",
            "float32 arousal",
            "float32 confidence",
        ]
    ),
    "EngagementLevel": """uint8 UNKNOWN=0
uint8 DISENGAGED=1
uint8 ENGAGING=2
uint8 ENGAGED=3
uint8 DISENGAGING=4
std_msgs/Header header
uint8 level
""",
    "Gaze": "std_msgs/Header header\nstring sender\nstring receiver\n",
    "IdsList": "std_msgs/Header header\nstring[] ids\n",
    "NormalizedPointOfInterest2D": "float32 x\nfloat32 y\nfloat32 c\n",
    "NormalizedRegionOfInterest2D": """std_msgs/Header header
float32 xmin
float32 ymin
float32 xmax
float32 ymax
float32 c
""",
    "FacialLandmarks": """std_msgs/Header header
hri_msgs/NormalizedPointOfInterest2D[70] landmarks
uint32 height
uint32 width
""",
    "FacialActionUnits": "std_msgs/Header header\nfloat32[99] intensity\nfloat32[99] confidence\n",
}
# rviz_2d_overlay_msgs 1.4.2.
RVIZ_2D_OVERLAY_MSGS = {
    "OverlayText": """uint8 ADD=0
uint8 DELETE=1
uint8 LEFT=0
uint8 RIGHT=1
uint8 CENTER=2
uint8 TOP=3
uint8 BOTTOM=4
uint8 action
int32 width
int32 height
int32 horizontal_distance
int32 vertical_distance
uint8 horizontal_alignment
uint8 vertical_alignment
std_msgs/ColorRGBA bg_color
int32 line_width
float32 text_size
string font
std_msgs/ColorRGBA fg_color
string text
"""
}
# foxglove_msgs 3.4.3. Comments and constants that nothing here uses are left out; older releases have no top-level
# timestamp and no metadata.
_COMMON = """builtin_interfaces/Time timestamp
foxglove_msgs/KeyValuePair[] metadata
"""
FOXGLOVE_MSGS = {
    "KeyValuePair": "string key\nstring value\n",
    "Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n",
    "Point2": "float64 x\nfloat64 y\n",
    "CircleAnnotation": f"""{_COMMON}foxglove_msgs/Point2 position
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
""",
    "PointsAnnotation": f"""uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
{_COMMON}uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
""",
    "TextAnnotation": f"""{_COMMON}foxglove_msgs/Point2 position
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
""",
    "ImageAnnotations": f"""{_COMMON}foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
""",
}
