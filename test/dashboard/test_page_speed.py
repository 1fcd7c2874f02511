"""What the page costs: bytes, time to the first content, growth over a day, the server's work for ten viewers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from page_robot import S
from page_world import Client, Page, a_face, a_state, happy

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.video import VideoFeed
from emotion_perception.interaction.group import GroupEmotion
from emotion_perception.types import NodeHealth, RunningConversation

VIEWERS = 10
MAX_CORE = 0.2  # of a core, for ten viewers with video
MAX_BYTES = 120_000
MAX_FIRST_CONTENT_S = 0.3

FIRST_CONTENT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
TRANSFERRED = """
return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .map((entry) => [entry.name.replace(/.*[/]/, ''), entry.transferSize]);
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("view", ["today", "live"])
def test_the_page_is_small_and_its_first_content_comes_at_once(page: Page, view: str) -> None:
    """The time is compared with that of a page without a script, as other programs may keep the machine busy."""
    page.look(1280, 900)

    def first_content(path: str) -> float:
        page.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        page.browser.get("about:blank")
        page.browser.get(f"{page.url}{path}")
        return page.until(lambda: page.run(FIRST_CONTENT), "nothing is painted") / 1000

    plain = min(first_content("notice") for _ in range(3))
    ours = min(first_content(f"#/{view}") for _ in range(3))
    page.says("#link", "Live")
    transferred = dict(page.run(TRANSFERRED))
    assert "app.js" in transferred and "en.json" in transferred
    assert sum(transferred.values()) <= MAX_BYTES, transferred
    assert [name for name in transferred if name.endswith(".json")] == ["en.json"], "one language only"
    assert "tryit.js" not in transferred, "a view is loaded when it is opened"
    assert ours <= max(MAX_FIRST_CONTENT_S, plain + MAX_FIRST_CONTENT_S, 4 * plain), f"{plain:.2f} s without a script"
    print(f"\n{view}: {sum(transferred.values())} bytes, first content {ours:.2f} s, a plain page {plain:.2f} s")


# Stands in for the live connection: messages are made in the page, as fast as it takes them.
FAKE_SOCKET = """
window.WebSocket = class {
  static OPEN = 1;
  constructor() { window.fake = this; this.readyState = 1; setTimeout(() => this.onopen()); }
  send() {} close() {}
};
"""
A_DAY = """
const [from, to, done] = arguments;
const EMOTIONS = 8, send = (section) => fake.onmessage({ data: JSON.stringify(section) });
const share = (label) => Array.from({ length: EMOTIONS }, (_, i) => (i === label ? 0.86 : 0.02));
const estimate = (label) => ({ label, confidence: 0.86, probabilities: share(label), valence: 0.5, arousal: 0.1 });
const face = (id, label) => ({ id, label, confidence: 0.9, valence: 0.5, arousal: 0.1, box: [0.3, 0.2, 0.2, 0.3] });
async function picture(step) {
  const canvas = new OffscreenCanvas(64, 48);
  canvas.getContext("2d").fillRect(0, 0, 64, 48);
  const jpeg = await (await canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer();
  const header = new TextEncoder().encode(JSON.stringify({ width: 64, height: 48, faces: [face(`f${step}`, 2)] }));
  const data = new Uint8Array(4 + header.length + jpeg.byteLength);
  new DataView(data.buffer).setUint32(0, header.length, true);
  data.set(header, 4);
  data.set(new Uint8Array(jpeg), 4 + header.length);
  return data.buffer;
}
(async () => {
  for (let step = from; step < to; step++) {
    const now = 1.8e9 + step * 60, label = step % EMOTIONS, nobody = step % 7 === 0;
    const points = Array.from({ length: 20 }, (_, i) => [now - 10 + i / 2, nobody ? 0 : 2, label, 0.8, 0.5, 0.1]);
    send({ type: "trail", whole: step === 0, step: 0.5, points: nobody ? points.map((p) => p.slice(0, 2)) : points });
    const evidence = [{ modality: "visual", weight: 1, age: 0.1, label, confidence: 0.9 }];
    send(nobody ? { type: "state", status: "NO_EVIDENCE", quiet_s: 3, camera: "" }
      : { type: "state", status: "VISUAL_ONLY", latency_ms: 40, evidence, ...estimate(label) });
    const people = [face(`f${step}`, label), face(`g${step}`, 3)];
    send({ type: "group", faces: nobody ? 0 : 2, agreement: 0.5, differing: [`g${step}`], people, ...estimate(label) });
    const talk = { shape: "flat", trend: 0.1, turning_points: 1, mean_valence: 0.2, seconds: step % 100 };
    send({ type: "conversation", listening: true, id: nobody ? "" : `c${step >> 3}`, ...talk });
    const nodes = ["visual_node", "fusion_node", `n${step % 5}`].map(
      (name) => ({ name, level: nobody ? "warn" : "ok", message: String(step), values: { model: String(step) } }));
    send({ type: "health", nodes });
    if (step % 10 === 0) fake.onmessage({ data: await picture(step) });
    if (step % 50 === 0) await new Promise((next) => setTimeout(next));
  }
  done();
})();
"""
STEPS = 1440  # of a minute: a day


@pytest.mark.timeout(600)
def test_a_page_that_is_open_for_a_day_does_not_grow(page: Page) -> None:
    cdp = page.browser.execute_cdp_cmd
    cdp("Performance.enable", {})
    added = cdp("Page.addScriptToEvaluateOnNewDocument", {"source": FAKE_SOCKET})
    try:
        page.look(1280, 900)
        page.open("live")
        page.says("#link", "Robot is silent")

        def measure(start: int, end: int) -> dict[str, float]:
            for step in range(start, end, STEPS // 10):
                page.browser.execute_async_script(A_DAY, step, min(end, step + STEPS // 10))
            for _ in range(2):
                cdp("HeapProfiler.collectGarbage", {})
            metrics = {m["name"]: m["value"] for m in cdp("Performance.getMetrics", {})["metrics"]}
            return {name: metrics[name] for name in ("Nodes", "JSEventListeners", "JSHeapUsedSize")}

        early, late = measure(0, STEPS // 5), measure(STEPS // 5, STEPS)
        assert page.text("#group-count") and page.run("return document.querySelectorAll('#boxes .face').length") == 1
        assert late["Nodes"] <= 1.05 * early["Nodes"] + 50, (early, late)
        assert late["JSEventListeners"] <= early["JSEventListeners"] + 5, (early, late)
        assert late["JSHeapUsedSize"] <= 1.1 * early["JSHeapUsedSize"] + 300_000, (early, late)
    finally:
        cdp("Page.removeScriptToEvaluateOnNewDocument", added)
        cdp("Performance.disable", {})


READERS = """
import asyncio, sys, aiohttp
async def read(session, url):
    async with session.ws_connect(url) as socket:
        await socket.send_json({"video": True, "sections": ["state", "trail", "group", "conversation", "health"]})
        async for message in socket:
            pass
async def main(url, count):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(read(session, url) for _ in range(count)))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def feed(store: Store, video: VideoFeed, picture: np.ndarray, ends: threading.Event) -> None:
    """What a robot publishes: 30 states, groups and images a second, health and conversation once a second."""
    values = {"rate (Hz)": "25.0", "latency p50 (ms)": "12.0", "model": "expression"}
    reports = [NodeHealth(name, "ok", "active", values) for name in ("visual_node", "acoustic_node", "fusion_node")]
    faces, count = (a_face(),), 0
    while not ends.wait(1 / 30):
        now, count = time.time_ns(), count + 1
        store.add_state(a_state(now, count // 60 % 8), now)
        store.add_faces(faces)
        store.add_group(GroupEmotion(now, 1, happy(), float("nan"), float("nan"), ()))
        video.offer(picture, now, faces, "f1")
        if count % 30 == 0:
            store.add_health(reports)
            store.add_conversation(RunningConversation("id", "p", now - 90 * S, now, "flat", 0.1, 1, 0.3))


@pytest.mark.timeout(120)
def test_ten_viewers_with_video_cost_a_fifth_of_a_core(serve: Callable[..., Client]) -> None:
    """CPU time of this process, server and feeder together, minus that of the feeder alone."""
    from skimage.data import astronaut

    store, video, ends = Store(), VideoFeed(), threading.Event()
    picture = cv2.resize(astronaut()[..., ::-1], (640, 480))
    client = serve(Parts(store, video))
    feeder = threading.Thread(target=feed, args=(store, video, picture, ends), daemon=True)
    feeder.start()

    def core(seconds: float = 4.0) -> float:
        start, cpu = time.monotonic(), time.process_time()
        time.sleep(seconds)
        return (time.process_time() - cpu) / (time.monotonic() - start)

    time.sleep(0.5)
    alone = core()
    url = f"http://127.0.0.1:{client.server.port}/api/live"
    readers = subprocess.Popen([sys.executable, "-c", READERS, url, str(VIEWERS)])
    try:
        end = time.monotonic() + 30
        while client.server.viewers < VIEWERS and time.monotonic() < end:
            time.sleep(0.1)
        assert client.server.viewers == VIEWERS
        time.sleep(1.0)
        before = video.encoded
        watched = core()
        frames = (video.encoded - before) / 4.0
    finally:
        readers.kill()
        readers.wait()
        ends.set()
        feeder.join()
    print(f"\n{watched - alone:.3f} of a core for {VIEWERS} viewers at {frames:.1f} frames/s ({alone:.3f} without)")
    assert frames > 3, "the viewers see video"
    assert watched - alone <= MAX_CORE
