"""Hyper-parameters of the voice model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emotion_perception.learning.voices.network import VoiceNetConfig
from emotion_perception.learning.voices.overlap import OverlapTraining


@dataclass(frozen=True)
class AcousticTraining:
    """Hyper-parameters of one published model (``config/training/acoustic.yaml``)."""

    epochs: int = 80
    batch: int = 64
    learning_rate: float = 1e-3  # AdamW peak, layers after the encoder
    encoder_rate: float = 0.1  # encoder's factor, 0: frozen; low, as 5,000 clips are few for 6 million weights
    weight_decay: float = 0.05
    average_decay: float = 0.995  # decay of the moving average of the weights: 200 steps, three epochs
    copies: int = 4  # per clip: the original and three perturbed copies (speed, mostly reverberation)
    # Weight of each corpus among the clips drawn, 0 excludes it; a corpus not named has the weight `other_share`.
    shares: Mapping[str, float] = field(default_factory=dict)
    other_share: float = 1.0
    shortest_cut: float = 0.8  # s, as short as the first decisions about an utterance
    longest_cut: float = 3.5  # s
    tempo: float = 0.12  # largest relative change of a cut's tempo, pitch unchanged
    noise_share: float = 0.55  # share of the cuts with added noise
    babble_share: float = 0.3  # share of the noises that are babble; the others are white, pink, fan or music
    babble_margin: float = 0.35  # largest share of a cut with only babble, both before and after the speech
    quietest_snr: float = 25.0  # dB, highest SNR
    loudest_snr: float = 0.0  # dB, lowest SNR
    microphone_db: float = 4.0  # standard deviation of a random smooth frequency response, dB
    masked_bands: int = 10  # largest width of a frequency mask, mel bands
    masked_share: float = 0.2  # largest share of the frames in each of the two time masks
    smoothing: float = 0.1  # label smoothing
    handicap: float = 1.0  # subtracted from the logits of labels absent from the clip's corpus; large: ignored
    mixup_share: float = 0.5  # share of the clips that are mixed
    mixup_alpha: float = 0.4
    intensity_weight: float = 0.2  # weight of the intensity loss
    sex: str = "off"  # role of the speaker's sex, see VoiceNet; for the study in docs/acoustic_model.md
    sex_weight: float = 0.3  # weight of the loss of the auxiliary task
    # Weights that are published: from the initial ones (0) to the trained ones (1). In between, the network keeps more
    # of what it knew (Wortsman et al. 2022). Below 1, training needs a whole published network to start from.
    interpolation: float = 1.0
    seed: int = 7
    net: VoiceNetConfig = field(default_factory=VoiceNetConfig)
    overlap: OverlapTraining = field(default_factory=OverlapTraining)

    def share(self, corpus: str) -> float:
        """Weight of a corpus among the clips drawn."""
        return self.shares.get(corpus, self.other_share)
