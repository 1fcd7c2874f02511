"""Model cards: what a program must know about a network's file to run it and to use its output.

The card is a YAML file with the network's name, ``expression.yaml`` for ``expression.onnx``. A published ONNX file has
the same card as JSON in its metadata (key ``card``), which is read where there is no YAML file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from emotion_perception.emotions import EMOTIONS, emotion_index
from emotion_perception.errors import ModelError, missing_package

METADATA_KEY = "card"  # in the ONNX file
COLOURS = {"grey": 1, "rgb": 3, "bgr": 3}  # channels of each
LAYOUTS = ("NHW", "NCHW", "NHWC")
NO_EMOTION = (None, "", "-", "none")  # labels of a network's classes that are left out


@dataclass(frozen=True)
class FaceInput:
    """The face crop that a network takes: square, cut out by :func:`emotion_perception.visual.alignment.crop_face`."""

    size: int  # px, side
    colour: str = "grey"  # grey, rgb or bgr
    layout: str = "NHW"  # NHW (grey only), NCHW or NHWC
    mean: tuple[float, ...] = (0.0,)  # subtracted from pixel values 0..255, one for all channels or one for each
    deviation: tuple[float, ...] = (1.0,)  # the difference is divided by this


@dataclass(frozen=True)
class VoiceInput:
    """The speech that a network takes."""

    sample_rate: int  # Hz, mono
    longest_s: float = 4.0  # longer speech is cut to its end
    features: str = "log-mel"  # what the network's inputs are made of


@dataclass(frozen=True)
class ModelCard:
    """A network's card; the fields of the YAML file have the same names.

    Example:
        >>> card = ModelCard.from_mapping({"model": "m", "labels": ["joy", "anger", None], "prior": {"anger": 1}}, "m")
        >>> card.labels, card.prior
        (('happy', 'angry', None), {'angry': 1.0})
    """

    model: str  # name
    labels: tuple[str | None, ...]  # emotion of each of the network's classes in their order; None: left out
    input: FaceInput | VoiceInput | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)  # name in the network: logits, probabilities, ...
    prior: Mapping[str, float] | None = None  # class frequencies that its outputs contain; None: all alike
    calibration: Mapping[str, float] = field(default_factory=dict)
    reliability: Mapping[str, Any] | None = None  # by quality or SNR (emotion_perception.fusion.reliability)
    scores: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # everything else in the file: training, data, ...

    @classmethod
    def from_mapping(cls, mapping: Any, source: str) -> ModelCard:
        """Check a card that was read from ``source``.

        Raises:
            ModelError: a field is missing or out of range; names source and field.
        """
        try:
            return cls._checked(_mapping(mapping, "card"))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source}: wrong model card: {error}") from error

    @classmethod
    def _checked(cls, card: Mapping[str, Any]) -> ModelCard:
        known = {f.name for f in fields(cls)} - {"details"}
        if not isinstance(card.get("labels"), (list, tuple)) or not card["labels"]:
            raise ValueError(f"labels must be a list of the network's classes, got {card.get('labels')!r}")
        labels = tuple(_label(label, card.get("label_map") or {}) for label in card["labels"])
        if all(label is None for label in labels):
            raise ValueError("labels name no emotion")
        return cls(
            model=str(card.get("model") or "model"),
            labels=labels,
            input=None if card.get("input") is None else _input(_mapping(card["input"], "input")),
            outputs={str(k): str(v) for k, v in _mapping(card.get("outputs") or {}, "outputs").items()},
            prior=None if card.get("prior") is None else _prior(_mapping(card["prior"], "prior")),
            calibration=_mapping(card.get("calibration") or {}, "calibration"),
            reliability=None if card.get("reliability") is None else _mapping(card["reliability"], "reliability"),
            scores=_mapping(card.get("scores") or {}, "scores"),
            licence=str(card.get("licence") or ""),
            details={k: v for k, v in card.items() if k not in known and k != "label_map"},
        )

    def to_mapping(self) -> dict[str, Any]:
        """The card as plain values, as :meth:`from_mapping` and the files have it."""
        whole = {k: v for k, v in asdict(self).items() if k != "details" and v not in (None, {}, "")}
        plain: dict[str, Any] = json.loads(json.dumps({**whole, **self.details}))
        return plain

    def to_yaml(self) -> str:
        """The card as the text of a YAML file."""
        return yaml.safe_dump(
            self.to_mapping(), sort_keys=False, width=120, allow_unicode=True, default_flow_style=None
        )

    def scale(self, name: str = "scale") -> float:
        """The factor on the logits (inverse temperature, Guo et al. 2017) from ``calibration``; 1 where it has none.

        Raises:
            ValueError: it is not a positive number.
        """
        return _positive(self.calibration.get(name, 1.0), f"calibration.{name}")

    def prior_of(self, emotions: tuple[str, ...], output: str = "") -> np.ndarray:
        """The class prior ``(len(emotions),)`` that the network's distributions over ``emotions`` contain; sum 1.

        Args:
            emotions: those that the network tells apart.
            output: of the network, where several have priors of their own: the field ``<output>_prior`` of the card
                comes before ``prior``.

        Raises:
            ValueError: an emotion is missing in the prior, or has 0.
        """
        own = self.details.get(f"{output}_prior")
        prior = self.prior if own is None else _prior(_mapping(own, f"{output}_prior"))
        if prior is None:
            return np.full(len(emotions), 1 / len(emotions))
        if missing := [name for name in emotions if prior.get(name, 0.0) <= 0]:
            raise ValueError(f"prior lacks {', '.join(missing)}")
        values = np.array([prior[name] for name in emotions])
        return np.asarray(values / values.sum())

    def class_matrix(self, emotions: tuple[str, ...]) -> np.ndarray:
        """``(classes, len(emotions))`` of 0 and 1 that adds up the network's classes by emotion.

        Raises:
            ValueError: a class is an emotion that is not among ``emotions``.
        """
        matrix = np.zeros((len(self.labels), len(emotions)), np.float32)
        for row, label in enumerate(self.labels):
            if label is None:
                continue
            if label not in emotions:
                raise ValueError(f"label {label!r} is not among {', '.join(emotions)}")
            matrix[row, emotions.index(label)] = 1
        return matrix


def load_card(model: Path) -> ModelCard:
    """The card of a network's file: of the YAML file with its name or, without one, of its ONNX metadata.

    Raises:
        ModelError: the model is missing, has no card, or the card is wrong; names the file and the field.
    """
    model = Path(model)
    if not model.is_file():
        raise ModelError(f"model not found: {model}")
    if (path := card_path(model)).is_file():
        try:
            mapping = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ModelError(f"{path}: model card not readable ({' '.join(str(error).split())})") from error
        return ModelCard.from_mapping(mapping, str(path))
    if model.suffix.lower() == ".onnx":
        return ModelCard.from_mapping(_metadata(model), str(model))
    hint = "; convert it with emotion-train export" if model.suffix == ".safetensors" else ""
    raise ModelError(f"{model} has no model card: {path} not found{hint}")


def card_path(model: Path) -> Path:
    """Where the YAML file of a network's card is."""
    return model.with_suffix(".yaml")


def _metadata(model: Path) -> Any:
    try:
        import onnx  # here: whoever has the YAML file does not need it
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{model} has no {card_path(model).name}; to read its metadata, {missing_package(error)}"
        ) from error

    try:
        properties = {p.key: p.value for p in onnx.load(str(model), load_external_data=False).metadata_props}
    except Exception as error:  # protobuf has errors of its own
        raise ModelError(f"model not readable: {model} ({type(error).__name__}: {error})") from error
    if METADATA_KEY not in properties:
        raise ModelError(f"{model} has no model card: neither {card_path(model)} nor metadata `{METADATA_KEY}`")
    try:
        return json.loads(properties[METADATA_KEY])
    except json.JSONDecodeError as error:
        raise ModelError(f"{model}: metadata `{METADATA_KEY}` is not JSON ({error})") from error


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, got {value!r}")
    return {str(key): content for key, content in value.items()}


def _label(name: Any, names: Mapping[str, Any]) -> str | None:
    name = names.get(name, name)
    if name in NO_EMOTION:
        return None
    try:
        return EMOTIONS[emotion_index(str(name))]
    except ValueError as error:
        raise ValueError(f"labels: {error}; write null for a class to leave out") from None


def _input(values: dict[str, Any]) -> FaceInput | VoiceInput:
    if "sample_rate" in values:
        rate = _positive(values["sample_rate"], "input.sample_rate")
        longest = _positive(values.get("longest_s", 4.0), "input.longest_s")
        return VoiceInput(round(rate), longest, str(values.get("features", "log-mel")))
    if "size" not in values:
        raise ValueError("input must have size (a face, px) or sample_rate (a voice, Hz)")
    colour, layout = str(values.get("colour", "grey")).lower(), str(values.get("layout", "NHW")).upper()
    if colour not in COLOURS:
        raise ValueError(f"input.colour must be {', '.join(COLOURS)}, got {colour!r}")
    if layout not in LAYOUTS or (layout == "NHW" and colour != "grey"):
        raise ValueError(f"input.layout must be {', '.join(LAYOUTS)} (NHW for grey alone), got {layout!r} of {colour}")
    mean = _per_channel(values.get("mean", 0.0), COLOURS[colour], "input.mean")
    deviation = _per_channel(values.get("deviation", 1.0), COLOURS[colour], "input.deviation")
    for value in deviation:
        _positive(value, "input.deviation")
    size = _positive(values["size"], "input.size")
    if not 8 <= size <= 1024:
        raise ValueError(f"input.size must be 8 to 1024 px, got {values['size']!r}")
    return FaceInput(round(size), colour, layout, mean, deviation)


def _per_channel(value: Any, channels: int, name: str) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    if len(values) not in (1, channels):
        raise ValueError(f"{name} must have 1 or {channels} numbers, got {value!r}")
    return tuple(_number(v, name) for v in values)


def _prior(values: dict[str, Any]) -> dict[str, float]:
    prior = {EMOTIONS[emotion_index(name)]: _number(value, f"prior.{name}") for name, value in values.items()}
    if not prior or min(prior.values()) < 0 or not 0.98 <= sum(prior.values()) <= 1.02:
        raise ValueError(f"prior must be probabilities that sum to 1, got {values}")
    return prior


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _positive(value: Any, name: str) -> float:
    if (number := _number(value, name)) <= 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
    return number
