"""Behaves as ``emotion-train --feedback --background`` does, in milliseconds: ``python stand_in_training.py WHAT ...``.

WHAT is ``better``, ``worse``, ``crash`` (killed while it writes), ``wait`` (until it is killed), or ``wrong`` (data
that the command refuses). Its process id and environment are noted in the folder of the corrections.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from emotion_perception.feedback.model_versions import FOLDERS, FRESH, ModelVersions

BEFORE = {"accuracy": 0.8, "mean_recall": 0.7, "corrections_right": 0.25, "held_out_right": None, "test_faces": 9}
AFTER = {**BEFORE, "accuracy": 0.81, "corrections_right": 1.0}


def main(what: str, model: str, *options: str) -> int:
    folder = Path(options[options.index("--feedback") + 1])
    kind = {"visual": "face", "acoustic": "voice"}[model]
    started = {"pid": os.getpid(), "arguments": [model, *options], "environment": dict(os.environ)}
    (folder / "started.json").write_text(json.dumps(started))
    versions = ModelVersions(folder / FOLDERS[kind])
    for done in (0, 50):
        print(json.dumps({"progress": "learn", "done": done, "total": 200}), flush=True)
    if what == "wait":
        time.sleep(60)
    if what == "wrong":
        print("emotion-train: the base data are damaged", file=sys.stderr)
        return 2
    with versions.exclusive():
        if what == "crash":
            (versions.folder / FRESH).write_bytes(b"half of a netw")
            os.kill(os.getpid(), signal.SIGKILL)
        return train(versions, folder, replaced=what == "better")


def train(versions: ModelVersions, folder: Path, replaced: bool) -> int:
    ids = [path.stem for path in sorted((folder / "accepted").glob("*.json"))]
    report: dict[str, Any] = {"corrections": len(ids), "held_out": 0, "ids": ids, "before": BEFORE, "after": AFTER}
    report |= {"replaced": replaced, "reason": "" if replaced else "accuracy on the test split fell to 70.0 %"}
    if replaced:
        fresh = versions.folder / FRESH
        fresh.write_bytes(b"a new network")
        versions.add(fresh, {"scores": AFTER, "ids": ids})
    print(f"left out: nothing\n{json.dumps(report)}", flush=True)
    return 0 if replaced else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
