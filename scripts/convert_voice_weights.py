#!/usr/bin/env python3
"""Convert a voice model that an earlier version wrote (voice.safetensors) to voice.onnx with its card voice.yaml.

The weights stay as they are. The card's prior is the class frequency of the clips that the model was calibrated on, the
corpora's validation speakers.

    python scripts/convert_voice_weights.py voice.safetensors --data ../shared/data --out models/voice.onnx
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from emotion_perception.learning.config import from_mapping
from emotion_perception.learning.voices.calibration import class_prior
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.network import OverlapNet, OverlapNetConfig, VoiceNet, VoiceNetConfig
from emotion_perception.learning.voices.weights import publish_voice, put_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="voice.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora named in the card")
    parser.add_argument("--out", type=Path, required=True, help="voice.onnx")
    args = parser.parse_args()
    with safe_open(str(args.weights), framework="numpy") as file:
        weights = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        card = json.loads(file.metadata()["card"])
    net = VoiceNet(from_mapping(VoiceNetConfig, card["training"]["net"]))
    overlap = OverlapNet(from_mapping(OverlapNetConfig, card["overlap"]["net"])) if "overlap" in card else None
    put_weights(net, overlap, weights, args.weights)
    prior = class_prior([load_speech(args.data / corpus, "validation").labels for corpus in card["corpora"]])
    left_out = ("labels", "reliability", "validation")  # fixed, and moved to models/fusion.yaml and scores
    fields = {k: v for k, v in card.items() if k not in left_out}
    publish_voice(args.out, net, overlap, fields | {"prior": prior, "scores": card["validation"]})


if __name__ == "__main__":
    main()
