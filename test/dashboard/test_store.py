"""What the page receives: the newest of everything, or plainly that there is nothing."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from page_world import Clock, a_face, a_state, happy

from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.video import VideoConfig, VideoFeed
from emotion_perception.emotions import EMOTIONS, SAD
from emotion_perception.interaction.group import GroupEmotion
from emotion_perception.types import EmotionEstimate, NodeHealth, RunningConversation
from emotion_perception.visual.blank_image import BLACK

S = 1_000_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


def fields_of(store: Store, section: str, whole: bool = False) -> dict:
    fields = json.loads(store.text(section, whole))
    assert fields["type"] == section
    return fields


def test_before_anything_is_heard_nothing_is_claimed(clock):
    store = Store(clock)
    assert fields_of(store, "state")["status"] is None
    assert fields_of(store, "group")["faces"] is None
    assert fields_of(store, "conversation") == {"type": "conversation", "listening": False}


def test_a_state_comes_with_its_distribution(clock):
    store = Store(clock)
    store.add_state(a_state(10 * S), 10 * S + 50_000_000)
    state = fields_of(store, "state")
    assert state["status"] == "VISUAL_ONLY" and EMOTIONS[state["label"]] == "happy"
    assert state["latency_ms"] == 50 and sum(state["probabilities"]) == pytest.approx(1, abs=0.01)
    assert state["intensities"] == [None] * 8, "what is not known is null, not 0"


def test_no_evidence_has_no_label_and_says_for_how_long(clock):
    store = Store(clock)
    store.add_state(a_state(10 * S), 10 * S)
    clock.now += 7
    store.add_state(a_state(17 * S, known=False), 17 * S)
    state = fields_of(store, "state")
    assert state["status"] == "NO_EVIDENCE" and state["quiet_s"] == 7.0
    assert "label" not in state and "probabilities" not in state


def test_a_robot_that_falls_silent_is_not_shown_with_its_last_mood(clock):
    store = Store(clock)
    store.add_state(a_state(10 * S), 10 * S)
    clock.now += 4
    store.tick()
    state = fields_of(store, "state")
    assert state["status"] is None and state["silent_s"] == 4 and "label" not in state


def test_everything_ages_together_when_the_robot_is_gone(clock):
    store = Store(clock)
    store.add_faces([a_face("f1")])

    def publish() -> None:
        store.add_state(a_state(10 * S), 10 * S)
        store.add_group(GroupEmotion(S, 1, happy(), float("nan"), 0.4, ()))
        store.add_conversation(RunningConversation("talk", "", 10 * S, 40 * S, "flat", 0.1, 0, 0.5))
        store.add_health([NodeHealth("interaction_node", "ok", "active", {})])

    publish()
    assert store.running == "talk" and store.shown_emotion == "happy" and fields_of(store, "group")["faces"] == 1
    clock.now += 4
    before = store.versions()
    store.tick()
    changed = {section for section, version in store.versions().items() if version != before[section]}
    assert changed == {"state", "group", "conversation", "health"}, "viewers are informed"
    assert fields_of(store, "state")["status"] is None
    assert fields_of(store, "group") == {"type": "group", "faces": None}
    assert fields_of(store, "conversation") == {"type": "conversation", "listening": False}
    assert store.running == store.shown_emotion == "", "no picture for a report is taken any more"
    publish()
    assert fields_of(store, "group")["faces"] == 1 and fields_of(store, "conversation")["id"] == "talk"


def test_a_conversation_that_is_published_rarely_is_current_while_its_node_reports(clock):
    store = Store(clock)
    store.add_conversation(RunningConversation("talk", "", 10 * S, 40 * S, "flat", 0.1, 0, 0.5))
    for _ in range(30):  # arc_period may be a minute; a node reports every second
        clock.now += 1
        store.add_health([NodeHealth("interaction_node", "ok", "active", {})])
    assert store.running == "talk"
    clock.now += 4
    assert store.running == ""


def test_a_black_camera_image_is_shown_as_that_and_not_only_as_nobody(clock):
    store = Store(clock)
    store.add_state(a_state(S, known=False), S)
    store.add_group(GroupEmotion(S, 0, EmotionEstimate.unknown(), float("nan"), float("nan"), ()))
    assert fields_of(store, "state")["camera"] == fields_of(store, "group")["camera"] == ""
    before = store.versions()["state"]
    store.add_health([NodeHealth("visual_node", "warn", BLACK, {})])
    assert fields_of(store, "state")["camera"] == fields_of(store, "group")["camera"] == BLACK
    assert store.versions()["state"] > before, "viewers are informed at once"
    store.add_health([NodeHealth("visual_node", "ok", "active", {})])
    assert fields_of(store, "state")["camera"] == ""


def test_states_come_at_most_five_times_a_second_unless_the_label_changes(clock):
    store = Store(clock)
    versions = set()
    for i in range(30):  # a second of 30 Hz
        clock.now += 1 / 30
        store.add_state(a_state(i * S // 30), i * S // 30)
        versions.add(store.versions()["state"])
    assert len(versions) <= 7
    before = store.versions()["state"]
    store.add_state(a_state(S, label=SAD), S)
    assert store.versions()["state"] == before + 1


def test_a_text_is_made_once_for_all_viewers(clock):
    store = Store(clock)
    store.add_state(a_state(S), S)
    assert store.text("state") is store.text("state")


def test_the_trail_has_a_point_each_half_second_and_its_gaps(clock):
    store = Store(clock)
    for i in range(40):
        clock.now += 0.1
        store.add_state(a_state(i * S // 10, known=i < 20), i * S // 10)
    points = fields_of(store, "trail", whole=True)["points"]
    assert [p[0] for p in points] == pytest.approx([0.5 * i for i in range(8)])
    assert [p[1] for p in points] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert all(len(p) == (6 if p[1] else 2) for p in points), "a point without evidence has no values"


def test_news_of_the_trail_is_short_and_a_new_viewer_gets_all_of_it(clock):
    store = Store(clock)
    for i in range(200):
        store.add_state(a_state(i * S // 2), i * S // 2)
    news, whole = fields_of(store, "trail"), fields_of(store, "trail", whole=True)
    assert len(news["points"]) == 20 and len(whole["points"]) == 200 and whole["whole"] and not news["whole"]
    assert whole["points"][-20:] == news["points"]


def test_a_clock_set_back_begins_a_new_trail(clock):
    store = Store(clock)
    store.add_state(a_state(500 * S), 500 * S)
    store.add_state(a_state(10 * S), 10 * S)
    assert [p[0] for p in fields_of(store, "trail", whole=True)["points"]] == [10.0]


def test_the_group_comes_with_everybody_in_it(clock):
    store = Store(clock)
    store.add_faces([a_face("f1"), a_face("f2", SAD)])
    store.add_group(GroupEmotion(S, 2, happy(), float("nan"), 0.4, ("f2",)))
    group = fields_of(store, "group")
    assert group["faces"] == 2 and group["spread"] is None and group["differing"] == ["f2"]
    assert [EMOTIONS[p["label"]] for p in group["people"]] == ["happy", "sad"]


def test_a_node_that_stops_reporting_is_called_silent(clock):
    store = Store(clock)
    store.add_health([NodeHealth("visual_node", "ok", "active", {"rate (Hz)": "25.0"})])
    clock.now += 2
    (visual,) = fields_of(store, "health")["nodes"]
    assert visual["level"] == "ok" and visual["values"] == {"rate (Hz)": "25.0"}
    clock.now += 4
    store.tick()
    nodes = {node["name"]: node for node in fields_of(store, "health")["nodes"]}
    assert nodes["visual_node"]["level"] == "stale" and nodes["visual_node"]["message"] == "silent for 6 s"
    assert nodes["fusion_node"]["message"].startswith("no report yet")


def test_a_running_conversation_has_null_for_what_is_not_known(clock):
    store = Store(clock)
    nan = float("nan")
    store.add_conversation(RunningConversation("id", "", 10 * S, 40 * S, "flat", nan, 0, nan))
    talk = fields_of(store, "conversation")
    assert talk["seconds"] == 30.0 and talk["trend"] is None and talk["mean_valence"] is None


# --- pictures


def picture(width: int = 640, height: int = 480) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def decoded(data: bytes) -> tuple[dict, np.ndarray]:
    length = int.from_bytes(data[:4], "little")
    image = cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), cv2.IMREAD_COLOR)
    return json.loads(data[4 : 4 + length]), image


def test_without_viewers_no_picture_is_encoded(clock):
    feed = VideoFeed(clock=clock)
    assert not feed.offer(picture(), S, ()) and feed.encoded == 0


def test_a_picture_comes_with_its_faces_in_shares_of_it(clock):
    feed = VideoFeed(VideoConfig(width=320), clock)
    feed.viewers = 1
    assert feed.offer(picture(), 5 * S, [a_face()], "f1")
    header, image = decoded(feed.newest.data)
    assert image.shape == (240, 320, 3) and header["time"] == 5.0
    (face,) = header["faces"]
    assert face["box"] == pytest.approx([270 / 640, 160 / 480, 100 / 640, 120 / 480], abs=1e-4)
    assert face["chosen"] and EMOTIONS[face["label"]] == "happy"


def offered(feed: VideoFeed, clock: Clock, seconds: float = 10.0) -> int:
    before = feed.encoded
    for i in range(int(25 * seconds)):
        clock.now += 0.04
        feed.offer(picture(), i, ())
    return feed.encoded - before


def test_pictures_keep_to_their_rate(clock):
    feed = VideoFeed(VideoConfig(fps=12), clock)
    feed.viewers = 1
    assert 100 <= offered(feed, clock) <= 130


def test_ten_viewers_keep_to_the_bandwidth_and_share_one_encoding(clock):
    feed = VideoFeed(VideoConfig(fps=12, max_mbit=4.0), clock)
    feed.viewers = 10
    count = offered(feed, clock)
    size = len(feed.newest.data)
    assert count * size * 8 * 10 <= 4e6 * 10.5
    assert count >= 2, "fewer pictures, not none"


def test_an_old_picture_is_not_shown_to_who_comes_later(clock):
    feed = VideoFeed(clock=clock)
    feed.viewers = 1
    feed.offer(picture(), S, ())
    assert feed.newest is not None
    clock.now += 1.5
    assert feed.newest is None
