"""A model that names classes: scores of an encoder's features, and what it knows (`known.py`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from marrow.data.sampling import batch_from_sequences
from marrow.models.encoder import Encoder, Features
from marrow.models.heads import Recogniser
from marrow.skeleton.sequence import SkeletonSequence
from marrow.use.calibration import probabilities
from marrow.use.known import Known
from marrow.use.same_recording import KnownRecordings

KEEPS_NOTHING = (
    "the model keeps nothing to compare with: nothing is ever unknown, and probabilities are not calibrated. The "
    "`marrow finetune` command that made it, given again, mends that"
)


@dataclass(frozen=True)
class Judgement:
    """What a model says of one recording.

    Args:
        probability: of each class.
        distance: from what was learned; None where the model keeps nothing to compare with.
        is_unknown: whether that is too far; None where it cannot tell.
    """

    probability: Float64[np.ndarray, " class"]
    distance: float | None
    is_unknown: bool | None


@dataclass(frozen=True)
class Labeller:
    """A model that names classes.

    Args:
        encoder: in evaluation mode.
        classes: their names, in the order of the scores.
        score: from features to scores before the softmax, one row per recording.
        known: temperature, threshold, training clips; None: not kept.
        examples: that it was made from; None: not kept.
    """

    encoder: Encoder
    classes: tuple[str, ...]
    score: Callable[[Features], Tensor]
    known: Known | None
    examples: KnownRecordings | None = None

    @classmethod
    def of(cls, recogniser: Recogniser, known: Known | None, device: torch.device | None = None) -> "Labeller":
        """Make one of a fine-tuned recogniser, which is moved to a device where one is named."""
        encoder, head = recogniser.encoder.eval(), recogniser.head.eval()
        return cls(encoder.to(device), recogniser.classes, head.to(device), known)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "Labeller":
        """Read a recogniser and what it knows.

        Raises:
            CheckpointError: nothing is there, or it is damaged or of another version.
        """
        return cls.of(Recogniser.load(folder), Known.load(folder), device)

    @property
    def temperature(self) -> float:
        """What scores are divided by; 1 where nothing is known of it."""
        return 1.0 if self.known is None else self.known.temperature

    def judge(self, sequences: Sequence[SkeletonSequence]) -> list[Judgement]:
        """Say what recordings are, from their centre crops.

        Args:
            sequences: in the layout of the encoder, few enough to be computed at once; somebody is seen in each.
        """
        return self.judged(*self.outputs(sequences))

    def judged(self, scores: Float[np.ndarray, "clip class"], pooled: Float[np.ndarray, "clip dim"]) -> list[Judgement]:
        """Say what is behind scores and pooled features (`outputs`)."""
        probability = probabilities(scores, self.temperature)
        if self.known is None or self.known.gallery is None or self.known.threshold is None:
            return [Judgement(row, None, None) for row in probability]
        distance = self.known.gallery.distance(pooled).tolist()
        limit = self.known.threshold
        return [Judgement(row, far, far > limit) for row, far in zip(probability, distance, strict=True)]

    @torch.inference_mode()
    def outputs(
        self, sequences: Sequence[SkeletonSequence]
    ) -> tuple[Float32[np.ndarray, "clip class"], Float32[np.ndarray, "clip dim"]]:
        """Return the scores of recordings before the softmax, and their pooled features."""
        encoder = self.encoder
        device = next(encoder.parameters()).device
        features = encoder(batch_from_sequences(sequences, encoder.input, device, encoder.skeleton))
        return self.score(features).float().cpu().numpy(), features.pooled().float().cpu().numpy()
