"""Visitors' files: known by their bytes, refused with a reason, decoded in a guarded process, kept nowhere."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
from clips import write_clip
from heif import tiled_heic
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.file_types import UploadError, picture_size, sniff
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import UploadAnalyzer
from emotion_perception.media.opening import open_media

SPEECH = Path(__file__).parents[3] / "shared/data/ravdess_speech/Actor_21/03-01-05-02-01-01-21.flac"
WAITING = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "WEBP": ".webp"}


def encoded(ending: str, width: int = 60, height: int = 40) -> bytes:
    return cv2.imencode(ending, np.full((height, width, 3), 120, np.uint8))[1].tobytes()


def huge_png(width: int, height: int) -> bytes:
    """A valid PNG of one colour: a few kB for any size, as deflate packs it a thousand times."""
    chunk = lambda kind, data: (  # noqa: E731
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(width)
    data = b"".join(packer.compress(row) for _ in range(min(height, 64))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("face.jpg", bytes(20_000_000))
    return data.getvalue()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".webp"])
def test_pictures_are_known_by_their_bytes_with_their_size(ending):
    what = sniff(encoded(ending))
    assert what.kind == "image"
    assert picture_size(what.name, encoded(ending)) == (60, 40)


def test_recordings_are_known_by_their_bytes():
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    for data in (sound.getvalue(), b"\0\0\0\x18ftypmp42....", b"\x1aE\xdf\xa3webm", b"OggS...", b"fLaC", b"ID3\4"):
        assert sniff(data).kind in ("video", "audio")
    assert sniff(b"\xff\xfb\x90\x64" + bytes(64)).kind == "audio", "MP3 without a tag"


@pytest.mark.parametrize(
    ("data", "reason", "status"),
    [
        (b"", "the file is empty", 400),
        (zip_bomb(), "this is a ZIP archive", 415),
        (zlib.compress(b"x"), "this kind of file is not known", 415),
        (b"\x1f\x8b\x08rest", "this is a gzip archive", 415),
        (b"%PDF-1.7 ...", "this is a PDF document", 415),
        (b"\x7fELF\2\1\1", "this is a program", 415),
        (b"#!/bin/sh\nrm -rf /", "this is a script", 415),
        (b"<svg onload=alert(1)>", "this is text or a web page", 415),
        (b"  <!doctype html><script>", "this is text or a web page", 415),
        ("Grüße".encode(), "this is text or a web page", 415),
        (b"#EXTM3U\nhttp://x", "this is text or a web page", 415),
        (b"#!SILK_V3" + bytes(40), "this is a SILK voice note", 415),
        (huge_png(20_000, 20_000), "the picture has 20000 x 20000 pixels; at most 40 million", 413),
        (huge_png(12_001, 2), "12001 x 2 pixels", 413),
        (encoded(".png")[:18], "begins like a PNG picture, but it is damaged", 422),
        (encoded(".jpg")[:30], "begins like a JPEG picture, but it is damaged", 422),
    ],
)
def test_what_is_not_taken_is_refused_with_the_reason(data, reason, status):
    with pytest.raises(UploadError, match=reason.replace("(", r"\(")) as refused:
        sniff(data)
    assert refused.value.status == status


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8 ", b"BM"])
)
def test_no_bytes_break_the_look_at_them(data, begin):
    try:
        kind = sniff(begin + data).kind
    except UploadError as refused:
        kind = f"refused: {refused}"
    assert kind in ("image", "video", "audio") or len(kind) > len("refused: ")


# --- through the server, with the process that decodes


@pytest.fixture(scope="module")
def portrait() -> bytes:
    from skimage.data import astronaut

    return cv2.imencode(".jpg", astronaut()[..., ::-1])[1].tobytes()


def parts() -> Parts:
    return Parts(Store(), analyzer=UploadAnalyzer(seconds=100))


def test_an_upload_is_refused_before_any_decoder_sees_it(serve):
    client = serve(parts(), max_upload_mb=1.0)
    answer = client.post("/api/try", zip_bomb())
    assert answer.status == 415 and "ZIP archive" in answer.error
    answer = client.post("/api/try", huge_png(20_000, 20_000))
    assert answer.status == 413 and "20000 x 20000" in answer.error
    answer = client.post("/api/try", b"\xff\xd8\xff" + bytes(1_000_000))
    assert answer.status == 413 and "at most 1 MB are taken" in answer.error


def test_an_upload_without_a_stated_length_is_bounded_too(serve):
    client = serve(parts(), max_upload_mb=1.0)
    answer = client.post("/api/try", iter([bytes(300_000)] * 5))  # type: ignore[arg-type]
    assert answer.status == 413


def test_with_uploads_off_the_page_says_so(serve):
    answer = serve(Parts(Store())).post("/api/try", b"x")
    assert answer.status == 409 and answer.error == "uploads are turned off"


def test_a_picture_gives_faces_with_their_heat_map(serve, portrait, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    answer = serve(parts()).post("/api/try", portrait)
    assert answer.status == 200, answer.body
    result = answer.json
    (face,) = result["faces"]
    x, y, w, h = face["box"]
    assert 0.3 < x + w / 2 < 0.6 and 0.1 < y + h / 2 < 0.4, "the astronaut's face is up in the middle"
    assert sum(face["probabilities"]) == pytest.approx(1, abs=0.01)
    heat = cv2.imdecode(np.frombuffer(base64.b64decode(face["explanation"]["picture"]), np.uint8), 1)
    assert heat.shape[1] == 2 * heat.shape[0], "the face, and beside it the same under its heat map"
    assert np.ptp(heat[:, heat.shape[0] :].astype(int)) > 50
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 100]
    assert written == [], "nothing of it is written to a disk"


def test_phone_picture_is_read_and_a_huge_one_refused_whatever_its_format(serve):
    from skimage.data import astronaut

    client = serve(parts())
    turned = np.rot90(astronaut()[..., ::-1], -1)  # as a phone held upright stores it
    result = client.post("/api/try", tiled_heic(np.ascontiguousarray(turned), quarter_turns=1)).json
    (face,) = result["faces"]
    assert (result["width"], result["height"]) == (512, 512) and face["box"][1] < 0.4
    data = io.BytesIO()
    Image.new("1", (12_000, 10_000)).save(data, "TIFF", compression="group4")
    answer = client.post("/api/try", data.getvalue())
    assert answer.status == 422 and "12000 x 10000 pixels; at most 40 million" in answer.error


def test_animation_is_analysed_as_a_recording(serve):
    from skimage.data import astronaut

    frames = [Image.fromarray(astronaut()[:384])] * 4
    data = io.BytesIO()
    frames[0].save(data, "WEBP", save_all=True, append_images=[Image.fromarray(astronaut()[:384] // 2)], duration=600)
    result = serve(parts()).post("/api/try", data.getvalue()).json
    assert (result["kind"], result["video"], result["audio"]) == ("recording", True, False)


VOICE_NOTES = {  # container, codec, sample rate
    "amr": ("amr", "libopencore_amrnb", 8000),
    "m4a": ("ipod", "aac", 16_000),
    "3gp": ("3gp", "aac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "caf": ("caf", "pcm_s16le", 16_000),
    "opus": ("ogg", "libopus", 16_000),
    "webm": ("webm", "libopus", 16_000),
    "aiff": ("aiff", "pcm_s16be", 16_000),
    "wma": ("asf", "pcm_s16le", 16_000),
    "ac3": ("ac3", "ac3", 32_000),
}


def voice_note(kind: str) -> bytes:
    """Two seconds of a tone, as messengers and phones store a voice message."""
    container, codec, rate = VOICE_NOTES[kind]
    data = io.BytesIO()
    with av.open(data, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        tone = (3000 * np.sin(np.arange(2 * rate) / rate * 2 * np.pi * 300)).astype(np.int16)
        whole = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="s16", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
        for frame in av.AudioResampler(stream.format, "mono", stream.rate, stream.frame_size or 1024).resample(whole):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return data.getvalue()


@pytest.mark.parametrize("kind", VOICE_NOTES)
def test_voice_notes_of_phones_are_accepted(kind, tmp_path):
    assert sniff(voice_note(kind)).kind in ("audio", "video")
    path = tmp_path / "note"
    path.write_bytes(voice_note(kind))
    with open_media(path) as media:
        assert media.has_audio and not media.has_video


def test_amr_voice_note_is_analysed_on_the_page(serve):
    result = serve(parts()).post("/api/try", voice_note("amr")).json
    assert (result["kind"], result["audio"], result["coverage"]) == ("recording", True, 0)
    assert result["seconds"] == pytest.approx(2, abs=0.3)


def test_a_clip_gives_its_arc_its_emotion_and_the_heat_map_of_its_clearest_face(serve, tmp_path):
    from skimage.data import astronaut

    frame = np.ascontiguousarray(astronaut()[:384, :512, ::-1])
    path = write_clip(tmp_path / "clip.mp4", [frame] * 20, np.zeros(32_000, np.int16), fps=10)
    result = serve(parts()).post("/api/try", path.read_bytes()).json
    assert result["kind"] == "recording" and result["video"] and result["audio"] and not result["cut"]
    assert 1.5 < result["seconds"] < 2.6 and len(result["moments"]) >= 3 and result["coverage"] > 0.5
    assert sum(result["emotion"]["probabilities"]) == pytest.approx(1, abs=0.01)
    heat = cv2.imdecode(np.frombuffer(base64.b64decode(result["explanation"]["picture"]), np.uint8), 1)
    assert heat.shape == (192, 384, 3)


def test_a_sound_gives_its_emotion_and_a_silent_one_says_that_nobody_is_heard(serve):
    client = serve(parts())
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(32_000, np.float32), 16_000, format="WAV")
    result = client.post("/api/try", silent.getvalue()).json
    assert result["audio"] and not result["video"] and result["coverage"] == 0 and "emotion" not in result
    if not SPEECH.is_file():
        pytest.skip("RAVDESS is not in ../shared/data")
    result = client.post("/api/try", SPEECH.read_bytes()).json
    assert result["kind"] == "recording" and result["coverage"] > 0.2 and "explanation" not in result
    assert sum(result["emotion"]["probabilities"]) == pytest.approx(1, abs=0.01)


def test_what_cannot_be_decoded_is_reported_without_a_path(serve):
    broken = b"\0\0\0\x18ftypmp42" + bytes(5000)
    answer = serve(parts()).post("/api/try", broken)
    assert answer.status == 422
    assert "not a readable media file" in answer.error and "/proc" not in answer.error


def test_the_process_is_bounded_in_memory_and_files(tmp_path):
    """The limits hold: what a decoder might allocate or write beyond them fails."""
    import subprocess
    import sys

    code = f"""
from emotion_perception.dashboard.upload_worker import limit
limit(300, 30, 1000)
try:
    bytearray(600_000_000)
    print("memory")
except MemoryError:
    pass
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    open({str(tmp_path / "big")!r}, "wb", buffering=0).write(bytes(5000)) > 1000 and print("file")
except OSError:
    pass
print("held")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "held\n", done.stderr
    assert json.dumps(done.returncode) == "0"
