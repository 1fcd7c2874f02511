"""Post-training quantisation of the face network to int8 with NNCF (Jacob et al. 2018), checked on validation faces."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from emotion_perception.files import replacing
from emotion_perception.inference.cards import FaceInput, card_path, load_card
from emotion_perception.inference.foreign import network_input, read_face_network
from emotion_perception.inference.quantised import content_hash, int8_path
from emotion_perception.learning.faces.ferplus import load_ferplus
from emotion_perception.visual.expression import ExpressionClassifier

CALIBRATION_FACES = 300  # of FER+'s training split, evenly spaced
MOST_LOSS = 0.3  # points of validation accuracy
CLASSES = 7  # with an emotion; FER+'s eighth is contempt


class QuantisationError(ValueError):
    """The int8 network loses too much on the validation data."""


def quantise_faces(model: Path, data: Path, out: Path | None = None, most_loss: float = MOST_LOSS) -> dict[str, Any]:
    """Write the int8 network of a face network, unless it loses more than ``most_loss`` points of accuracy.

    Args:
        model: ONNX file of a face network with 48-pixel grey input.
        data: ``ferplus.npz``: its training split calibrates, PublicTest validates.
        out: folder for ``<model>.int8.xml``, ``.bin`` and the card (default: next to the model, where it takes effect).
        most_loss: points of accuracy on PublicTest.

    Returns:
        What the card says under ``quantised``: content hash of the float network, calibration set, accuracies in %.

    Raises:
        QuantisationError: it loses more; nothing is written.
        ModelError: the model cannot be read.
        OSError, ValueError: the model is no face network; the data or the folder cannot be used.
    """
    card = load_card(model)
    if not isinstance(card.input, FaceInput):
        raise ValueError(f"{model} is no face network")
    training, validation = load_ferplus(data, "Training").faces, load_ferplus(data, "PublicTest")
    chosen = np.linspace(0, len(training) - 1, min(CALIBRATION_FACES, len(training))).astype(int)
    kept = (validation.majority >= 0) & (validation.majority < CLASSES)
    faces, labels = validation.faces[kept], validation.majority[kept]
    if not len(faces):
        raise ValueError(f"{data}: PublicTest has no faces to validate with")
    crops = [network_input(training[i : i + 1], card.input) for i in chosen]
    quantised = _quantise(read_face_network(ov.Core(), model, card.input), iter(crops))

    with tempfile.TemporaryDirectory() as scratch:
        partial = int8_path(Path(scratch, model.name))
        ov.save_model(quantised, partial, compress_to_fp16=False)
        card_path(partial).write_text(card.to_yaml())
        before, after = (_accuracy(path, faces, labels) for path in (model, partial))
        if math.isnan(after) or before - after > most_loss:
            raise QuantisationError(f"{before:.2f} % of PublicTest right in float, {after:.2f} % in int8; not written")
        made: dict[str, Any] = {
            "of": content_hash(model),
            "calibration": f"{len(chosen)} faces of FER+ Training, evenly spaced",
            "accuracy": {
                "data": f"FER+ PublicTest (n = {len(faces)})",
                "float": round(before, 2),
                "int8": round(after, 2),
            },
        }
        target = int8_path((out or model.parent) / model.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The card last: without it, or with that of another float network, the int8 network is not used.
        for suffix in (".bin", ".xml"):
            with replacing(target.with_suffix(suffix)) as file:
                file.write_bytes(partial.with_suffix(suffix).read_bytes())
        with replacing(card_path(target)) as file:
            file.write_text(replace(card, details={**card.details, "quantised": made}).to_yaml())
    return made


def _quantise(network: Any, inputs: Iterator[np.ndarray]) -> Any:
    import nncf  # here: it takes seconds to load

    # MIXED keeps the sign of activations, which hard-swish has.
    return nncf.quantize(
        network, nncf.Dataset(list(inputs)), preset=nncf.QuantizationPreset.MIXED, subset_size=CALIBRATION_FACES
    )


def _accuracy(model: Path, faces: np.ndarray, labels: np.ndarray) -> float:
    """Percent of ``(N, 48, 48)`` faces whose most probable emotion is the majority's."""
    classifier = ExpressionClassifier(model, exact=True)
    found = [classifier.probabilities(faces[i : i + 64])[0].argmax(1) for i in range(0, len(faces), 64)]
    return 100 * float(np.mean(np.concatenate(found) == labels))
