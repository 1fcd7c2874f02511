"""The page in a real browser: what it shows, how it recovers, who can use it, what it refuses."""

from __future__ import annotations

import dataclasses
import http.server
import io
import re
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import pytest
from page_robot import take
from page_world import TOKEN, Page, happy

from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.static_files import STATIC
from emotion_perception.feedback.pictures import PictureConfig, Pictures
from emotion_perception.types import Box, FaceObservation

S = 1_000_000_000
VIEWS = ("today", "live", "conversations", "try", "feedback", "robot")
LOOKS = {"light": (1360, 900, False), "dark": (1360, 900, True), "phone": (390, 844, False)}


@pytest.mark.timeout(600)
def test_the_live_page_shows_face_state_arc_group_and_conversation(page):
    page.open()
    page.says("#label", "Happy")  # capitalised by the style
    assert "80%" in page.text("#sure") and page.text("#status") == "face only"
    page.until(lambda: "happy 80%" in page.text(".face"), "no box around the face")
    centre = page.run(
        "const c = document.querySelector('#picture');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].slice(0, 4e5).filter((v) => v < 250)"
        ".length"
    )
    assert centre > 10_000, "the picture is drawn"
    assert "1 face" in page.text("#group-count") and "happy" in page.text("#group")
    assert "1:30" in page.text("#talk-time") and "getting better" in page.text("#talk")
    assert len(page.text("#bars").splitlines()) >= 8 and page.text("#link") == "Live"


@pytest.mark.timeout(600)
def test_nobody_and_a_black_image_are_shown_plainly_and_not_as_neutral(page, robot):
    robot.mood = "nobody"
    page.open()
    page.says("#unknown", "Nobody is seen or heard")
    assert "This is not “neutral”" in page.text("#unknown") and page.text("#label") == ""
    assert "–" in page.text("#bars") and "%" not in page.text("#bars")
    gaps = "return document.querySelectorAll('#arc rect.gap').length"
    page.until(lambda: page.run(gaps) >= 1, "the arc bridges a gap")
    robot.mood = "black"
    page.says("#unknown", "Nobody is heard, and the image is black")
    page.says("#group", "the image is black")
    robot.mood = "happy"
    page.says("#label", "Happy")
    page.says("#link", "Live")


@pytest.mark.timeout(600)
def test_when_the_robot_falls_silent_everything_on_the_page_ages_together(page, robot):
    page.open()
    page.says("#label", "Happy")
    page.says("#talk", "getting better")
    page.until(lambda: page.text(".face"), "no box around the face")
    ends = "return document.querySelector('#arc path.valence:last-of-type').getBBox().x + 0.0"
    robot.mood = "silent"
    page.says("#unknown", "No news from the robot")
    page.says("#link", "Robot is silent")
    page.says("#group", "No news from the robot")
    page.says("#talk", "Conversations are not followed now")
    page.says("#no-picture", "No image from the camera")
    assert page.text("#group-count") == page.text("#talk-time") == page.text("#label") == page.text(".face") == ""
    assert "%" not in page.text("#bars") and page.text("#plane-text") == "nobody"
    page.says("#robot-badge", "3")
    before = page.run(ends)
    page.until(lambda: page.run(ends) < before - 5, "the arc stands still, as if its end were now")
    robot.mood = "happy"
    page.says("#label", "Happy")
    page.says("#link", "Live")


@pytest.mark.timeout(600)
def test_the_page_survives_a_restart_of_the_server(page, server, robot):
    page.open()
    page.says("#label", "Happy")
    page.run("window.notReloaded = true")
    server.stop()
    page.says("#banner", "The connection to the robot's page is lost")
    assert page.text("#link") == "Not connected"
    server.config = ServerConfig(port=server.port)
    server.start()
    page.says("#link", "Live")
    page.until(lambda: page.text("#banner") == "", "the banner stays")
    assert page.run("return window.notReloaded") and "Happy" in page.text("#label")


def zip_bomb(path: Path) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(10_000_000))
    path.write_bytes(data.getvalue())
    return path


@pytest.mark.timeout(600)
def test_a_picture_gives_its_face_a_label_and_a_heat_map(page, robot, tmp_path, screenshots):
    picture = tmp_path / "astronaut.png"
    cv2.imwrite(str(picture), robot.picture)
    page.open("try")
    page.until(lambda: page.find("#file").is_enabled(), "the page is not ready")
    page.find("#file").send_keys(str(picture))
    page.until(
        lambda: page.run("return document.querySelectorAll('#try-result figure img').length") == 1, "no map", 110
    )
    assert "sure" in page.text("#try-result") and "Bright areas" in page.text("#try-result figcaption")
    size = page.run(
        "const i = document.querySelector('#try-result figure img'); return [i.naturalWidth, i.naturalHeight]"
    )
    assert size == [384, 192]
    take(page, screenshots / "try_result_light.png")


@pytest.mark.timeout(600)
def test_hostile_files_are_refused_with_a_clear_message(page, tmp_path):
    page.open("try")
    page.until(lambda: page.find("#file").is_enabled(), "the page is not ready")
    huge = tmp_path / "huge.png"
    huge.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20000).to_bytes(4, "big") * 2 + bytes(50))
    script = tmp_path / "<img src=x onerror=window.hacked=1>.png"
    script.write_bytes(b"<script>window.hacked=1</script>")
    wrong = tmp_path / "face.jpg"
    wrong.write_bytes(b"%PDF-1.7")
    for path, words in (
        (zip_bomb(tmp_path / "bomb.jpg"), "this is a ZIP archive"),
        (huge, "20000 x 20000 pixels"),
        (script, "this is text or a web page"),
        (wrong, "this is a PDF document"),
    ):
        page.find("#file").send_keys(str(path))
        page.says("#try-result [role=alert]", words)
        assert path.name in page.text("#try-result"), "the name is shown as it is"
    assert page.run("return [window.hacked ?? null, document.querySelectorAll('#try-result img').length]") == [None, 0]
    refused = [line for line in page.problems() if "415" not in line and "413" not in line]
    assert refused == []


@pytest.mark.timeout(600)
def test_the_browsers_own_camera_can_be_tried(page):
    page.open("try")
    page.until(lambda: page.find("#use-camera").is_enabled(), "the page is not ready")
    page.find("#use-camera").click()
    page.until(lambda: page.run("return document.querySelector('#preview').videoWidth") > 0, "no camera")
    page.find("#capture-go").click()
    page.says("#try-result", "No face in it", 110)  # Chromium's test camera shows a green ground
    assert page.run("return document.querySelectorAll('#try-result img').length") == 1, "no heat map beside it"
    assert page.problems() == []


@pytest.mark.timeout(600)
def test_the_browsers_own_microphone_can_be_tried(page):
    page.open("try")
    page.until(lambda: page.find("#use-microphone").is_enabled(), "the page is not ready")
    page.find("#use-microphone").click()
    page.until(lambda: "Record" in page.text("#capture-go"), "no microphone")
    page.find("#capture-go").click()
    page.says("#try-result", "s of sound", 110)  # Chromium's test microphone beeps
    assert page.run("return document.querySelectorAll('#try-result .chart svg').length") == 1, "no arc"
    assert page.run("return document.querySelector('#capture').hidden"), "the microphone is let go"


@pytest.mark.timeout(600)
def test_a_face_is_corrected_by_keyboard_alone_and_reviewed(page, robot, screenshots):
    from selenium.webdriver.common.keys import Keys

    page.open()
    page.until(lambda: "happy" in page.text(".face"), "no face")
    body = page.browser.switch_to.active_element
    body.send_keys(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip", "the first stop skips the navigation"
    for _ in range(15):
        if page.run("return document.activeElement.className.startsWith('face')"):
            break
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.says("#correct", "The robot showed “happy” for this face")
    take(page, screenshots / "correct_light.png")
    page.run("document.querySelector('#correct-choices input').focus()")
    for _ in range(2):  # neutral, (calm is no face's), happy, sad
        page.browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.find("#annotator").send_keys("<b>Ana</b>" + Keys.ENTER)
    page.until(lambda: not page.run("return document.querySelector('#correct').open"), page.text("#correct-error"))
    page.open("feedback")
    page.says("#feedback-body", "Waiting for review (1)")
    assert "Sad, not happy" in page.text(".cards") and "<b>Ana</b>" in page.text(".cards")
    page.until(
        lambda: page.run("return document.querySelector('.cards img').naturalWidth") > 50, "no picture of the face"
    )
    take(page, screenshots / "feedback_one_light.png")
    page.find(".cards button").click()
    page.says("#feedback-body", "Accepted (1)")
    page.find("#feedback-actions button").click()
    page.find("#delete-yes").click()
    page.says("#feedback-body", "Accepted (0)")
    assert robot.parts.corrections.listed() == []


@pytest.mark.timeout(600)
def test_a_stretch_of_the_arc_is_drawn_and_corrected(page, robot, screenshots):
    from selenium.webdriver.common.action_chains import ActionChains

    page.open()
    page.says("#label", "Happy")
    page.until(lambda: page.run("return document.querySelectorAll('#arc path.valence').length") > 0, "no arc")
    arc = page.find("#arc")
    page.run("arguments[0].scrollIntoView({block: 'center'})", arc)
    width = arc.size["width"]
    now = time.time_ns()  # "Delete everything" of an earlier test empties the memory: wait until it covers the range
    page.until(lambda: len(robot.recent.faces_between(now, time.time_ns())) >= 10, "no faces in memory")
    drawn = ActionChains(page.browser).move_to_element_with_offset(arc, round(0.49 * width), 0)  # a moment ago
    drawn.click_and_hold().move_by_offset(-round(0.05 * width), 0).release().perform()
    seconds = page.run("return Number(document.querySelector('#length').value)")
    assert 4 <= seconds <= 9 and page.text("#length-text") == f"{seconds} s"
    assert page.run("return document.querySelectorAll('#arc rect.span').length") == 1
    ago = page.run("return -document.querySelector('#moment').value")
    later = "return -document.querySelector('#moment').value"
    page.until(lambda: page.run(later) >= ago + 2, "the chosen range moves with the present instead of staying")
    take(page, screenshots / "stretch_light.png")
    page.find("#correct-moment").click()
    page.says("#correct", f"these {seconds} s")
    page.find("#correct-choices input[value='3']").click()
    page.find("#correct-send").click()
    page.until(lambda: not page.run("return document.querySelector('#correct').open"), page.text("#correct-error"))
    kept = robot.parts.corrections.listed()
    assert (
        len(kept) >= 2 and {item["label"] for item in kept} == {"sad"} and len({item["stretch"] for item in kept}) == 1
    )
    robot.parts.corrections.delete_all()


@pytest.mark.timeout(600)
def test_a_conversation_opens_with_its_arc_and_its_reports(page, screenshots):
    page.open("conversations")
    page.says("#conversation-list", "desk 1")
    assert "<img src=x onerror=alert(1)>" in page.text("#conversation-list"), "a name is text"
    page.find(".day .name").click()
    page.says("#conversation", "Time by emotion")
    assert page.run("return document.querySelectorAll('#conversation svg path.valence').length") >= 1
    links = page.run("return [...document.querySelectorAll('#conversation a')].map((a) => a.getAttribute('href'))")
    assert links == [f"/api/reports/conversation/c0.{ending}" for ending in ("pdf", "html", "csv")]
    take(page, screenshots / "conversation_light.png")


@pytest.mark.timeout(600)
def test_reports_with_pictures_are_offered_only_with_consent_and_off_by_default(
    browser, page, serve, robot, tmp_path, screenshots
):
    page.open("conversations")
    page.says("#conversation-list", "desk 1")
    assert page.text("#conversation-exports").startswith("Week") and "Pictures" not in page.text("#conversations")
    pictures = Pictures(PictureConfig(tmp_path, consented=True))
    for i in range(10):
        face = FaceObservation("f1", Box(170.0, 60.0, 100.0, 130.0), 0.9, 0.8, happy())
        pictures.offer(robot.picture, time.time_ns() + i * S // 2, face, "c0", "happy")
    client = serve(Parts(robot.parts.store, archive=robot.parts.archive, pictures=pictures))
    page = Page(browser, client.server.url)
    page.open("conversations")
    page.says("#conversation-exports", "Pictures in HTML and PDF")
    asks = "return [...document.querySelectorAll('#conversation-exports a')].map((a) => a.search)"
    assert page.run(asks) == ["", "", ""] and not page.find("#with-pictures").is_selected()
    page.find("#with-pictures").click()
    page.until(lambda: page.run(asks) == ["?pictures=1", "?pictures=1", ""], "never in the CSV")
    for look, (width, height, dark) in LOOKS.items():
        page.look(width, height, dark)
        assert page.run("return document.documentElement.scrollWidth") <= width
        take(page, screenshots / f"pictures_{look}.png")
    page.look(1360, 900)
    page.find(".day .name").click()
    page.says("#conversation", "Time by emotion")
    link = page.run("return document.querySelector('#conversation a[href*=html]').href")
    browser.get(link)
    sizes = page.run("return [...document.images].map((image) => image.naturalHeight)")
    assert sizes == [160], "the sandboxed report shows it"
    for look, (width, height, dark) in LOOKS.items():
        page.look(width, height, dark)
        assert page.run("return document.documentElement.scrollWidth") <= width, "a report fits a phone, too"
        page.look(width, page.run("return document.documentElement.scrollHeight"), dark)
        take(page, screenshots / f"report_pictures_{look}.png")
    page.look(1360, 900)
    page.open("conversations")
    page.says("#conversation-exports", "Delete all pictures")
    page.find("#conversation-exports button").click()
    page.find("#pictures-yes").click()
    page.until(lambda: pictures.of("c0") == [], "the pictures stay")


@pytest.mark.timeout(600)
def test_every_view_fits_a_phone_and_can_be_read_by_a_screen_reader(page, screenshots):
    page.look(*LOOKS["phone"][:2])
    for view in VIEWS:
        page.open(view)
        page.says("#link", "Live")
        width = page.run("return document.documentElement.scrollWidth")
        assert width <= 390, f"{view} is {width} px wide"
        unnamed = page.run(
            "return [...document.querySelectorAll('button, a, input, canvas, img, [role=img], dialog')].filter((e) =>"
            " e.checkVisibility() && !(e.innerText?.trim() || e.getAttribute('aria-label') || e.labels?.length ||"
            " e.getAttribute('aria-labelledby') || e.hasAttribute('alt'))).map((e) => e.outerHTML.slice(0, 120))"
        )
        assert unnamed == [], view
        found = page.run(
            "return [document.querySelectorAll('main, header.top, nav').length, document.documentElement.lang,"
            " [...document.querySelectorAll('h1')].filter((e) => e.checkVisibility()).length, document.title,"
            " document.querySelectorAll('[aria-current=page]').length]"
        )
        assert found[:3] == [3, "en", 1] and found[4] == 1 and "Emotion perception" in found[3]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("look", LOOKS)
def test_a_picture_of_every_view_is_kept(page, screenshots, look):
    width, height, dark = LOOKS[look]
    for view in VIEWS:
        page.look(width, height, dark)
        page.open(view)
        page.says("#link", "Live")
        if view == "live":
            page.until(lambda: page.text("#label") and page.text(".face"), "nothing to see")
        page.look(width, max(height, page.run("return document.documentElement.scrollHeight")), dark)
        path = take(page, screenshots / f"{view}_{look}.png")
        image = cv2.imread(str(path))
        assert image.shape[1] == width and image.std() > 5, "not an empty page"
        assert (image.mean() < 90) == dark


@pytest.mark.timeout(600)
def test_the_token_is_asked_for_and_opens_the_page(browser, serve, robot, screenshots):
    client = serve(dataclasses.replace(robot.parts, analyzer=None), token=TOKEN)  # an analyzer belongs to one server
    page = Page(browser, client.server.url)
    page.look(1360, 900)
    page.open()
    page.says("body", "opens with the token")
    take(page, screenshots / "login_light.png")
    page.find("#token").send_keys("wrong\n")
    page.says("#wrong", "That is not the token")
    assert browser.get_cookies() == [], "a wrong token opens nothing"
    page.find("#token").send_keys(TOKEN + "\n")
    page.says("#strip-emotion", "happy")
    (cookie,) = browser.get_cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"], "who reads the cookie does not have the token"
    browser.delete_all_cookies()
    browser.get("about:blank")


class Evil(http.server.BaseHTTPRequestHandler):
    """A page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.timeout(600)
def test_a_page_of_another_site_gets_nothing_and_changes_nothing(browser, server, robot):
    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    try:
        browser.get(f"http://127.0.0.1:{evil.server_port}/")
        answers = browser.execute_async_script(
            """
            const [ours, done] = arguments;
            const ask = (path, options) => fetch(ours + path, options).then((r) => r.text(), () => "blocked");
            const socket = new Promise((then) => {
              const s = new WebSocket(ours.replace("http", "ws") + "api/live");
              s.onmessage = () => then("answered"); s.onerror = () => then("blocked");
            });
            const post = {method: "POST", body: "x"};
            Promise.all([ask("api/config"), ask("api/corrections", {method: "DELETE"}), ask("api/try", post),
              ask("api/conversation/stop", {...post, headers: {"X-Dashboard": "1"}}), socket]).then(done);
            """,
            server.url,
        )
        assert answers == ["blocked"] * 5
        browser.execute_script(
            "const f = document.createElement('iframe'); f.src = arguments[0]; document.body.append(f)", server.url
        )
        time.sleep(0.5)
        browser.switch_to.frame(browser.find_element("tag name", "iframe"))
        assert "Right now" not in browser.page_source, "the page lets nobody frame it"
    finally:
        browser.switch_to.default_content()
        browser.get("about:blank")
        evil.shutdown()


# --- without a browser: what the style sheet promises


def luminance(colour: str) -> float:
    digits = colour.strip().lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme):
    """WCAG 2.2 AA: 4.5 to 1 for text."""
    style = (STATIC / "style.css").read_text()
    tokens = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", re.findall(r":root \{(.*?)\}", style, re.S)[scheme]))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(tokens[a]), luminance(tokens[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("card", "paper", "well"):
        for ink in ("ink", "soft", "accent", "bad"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    for ink in ("good", "warn", "valence", "arousal"):
        assert contrast(ink, "card") >= 4.5, ink
    assert contrast("on-accent", "accent") >= 4.5


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere():
    for path in (path for path in STATIC.rglob("*") if path.is_file()):
        text = path.read_text()
        urls = set(re.findall(r"https?://[\w.:/-]+", text, re.ASCII)) - {
            "http://www.w3.org/2000/svg",
            "http://127.0.0.1",
        }
        assert not urls, path.name
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|\son\w+=|<style|\sstyle=", text), path.name
        if path.suffix == ".js":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|document\.write", text), path.name
