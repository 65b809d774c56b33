"""What is put on an encoder to make it say a class, and the two together as a thing to keep and to use.

There are two heads: that of MAMP's fine-tuning, the joints' features, averaged over time, side by side, then one hidden
layer; and one linear layer on the pooled features.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from marrow.data.sampling import batch_from_sequences
from marrow.errors import CheckpointError, MarrowError, damaged
from marrow.files import write_text_whole, write_whole
from marrow.models.blocks import initialise_linear
from marrow.models.encoder import Encoder, Features
from marrow.models.export import encoder_from, load_encoder, plain_weights, save_encoder
from marrow.models.packed import is_packed, read_packed
from marrow.skeleton.sequence import SkeletonSequence

HEAD_VERSION = 1
WEIGHTS, DESCRIPTION = "head.safetensors", "head.json"


class JointsHead(nn.Module):
    """Average over bodies and time, keep the joints, then Linear, BatchNorm, ReLU, Linear.

    The authors average over time, then over both persons, of whom the absent one is a skeleton at the origin. Here the
    average is over what is present. Where the encoder has a summary of each body, that takes the joints' place.

    Args:
        joints: joints of the features (1 where the encoder has no joint axis, or a summary).
        dim: length of a feature vector.
        classes: outputs.
        hidden_width: of the layer between.
    """

    kind = "joints"

    def __init__(self, joints: int, dim: int, classes: int, hidden_width: int = 2048) -> None:
        super().__init__()
        self.joints = joints
        self.hidden = nn.Linear(joints * dim, hidden_width)
        self.norm = nn.BatchNorm1d(hidden_width)
        self.classify = nn.Linear(hidden_width, classes)
        initialise_linear(self)

    def forward(
        self, features: Features, kept: Bool[Tensor, "batch body *axes dim"] | None = None, rate: float = 0.0
    ) -> Float[Tensor, "batch class"]:
        """Return one score per class, before the softmax.

        Args:
            features: from the encoder.
            kept: dropout: which numbers of the features (of the summary, where there is one) remain; None: all.
            rate: share of them that does not, for which the others make up.
        """
        features = _thinned(features, kept, rate)
        return self.classify(F.relu(self.norm(self.hidden(features.readout()))))

    def config(self) -> dict[str, int]:
        """Return what it was made with."""
        return {
            "joints": self.joints,
            "dim": self.hidden.in_features // self.joints,
            "classes": self.classify.out_features,
            "hidden_width": self.hidden.out_features,
        }


class LinearHead(nn.Module):
    """One linear layer on the pooled features, each of which is shifted and scaled first.

    Args:
        dim: length of the pooled features.
        classes: outputs.

    Attributes:
        mean: by which each is shifted; not learned.
        scale: by which each is then divided; not learned.
    """

    kind = "linear"

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, classes)
        self.mean = nn.Buffer(torch.zeros(dim))
        self.scale = nn.Buffer(torch.ones(dim))

    def forward(
        self, features: Features, kept: Bool[Tensor, "batch body *axes dim"] | None = None, rate: float = 0.0
    ) -> Float[Tensor, "batch class"]:
        """Return one score per class, before the softmax; the arguments are those of `JointsHead`."""
        features = _thinned(features, kept, rate, about=self.mean)
        return self.classify((features.pooled() - self.mean) / self.scale)

    def config(self) -> dict[str, int]:
        """Return what it was made with."""
        return {"dim": self.classify.in_features, "classes": self.classify.out_features}


Head = JointsHead | LinearHead
_HEADS: Mapping[str, type[Head]] = {kind.kind: kind for kind in (JointsHead, LinearHead)}


def _thinned(
    features: Features,
    kept: Bool[Tensor, "batch body *axes dim"] | None,
    rate: float,
    about: Float[Tensor, " dim"] | float = 0.0,
) -> Features:
    """Leave numbers out of the features, which then are what they are `about`; the others make up for them."""
    if kept is None:
        return features
    read = "tokens" if features.summary is None else "summary"
    return replace(features, **{read: about + (getattr(features, read) - about) * kept / (1.0 - rate)})


@dataclass
class Recogniser:
    """An encoder and its head: from a recording to the probability of each class.

    Args:
        encoder: fine-tuned.
        head: trained with it.
        classes: their names, in the order of the head's outputs.
    """

    encoder: Encoder
    head: Head
    classes: tuple[str, ...]

    @torch.inference_mode()
    def predict(
        self, sequences: Sequence[SkeletonSequence], *, batch_clips: int = 64
    ) -> Float32[np.ndarray, "sequence class"]:
        """Return the probability of each class for each sequence, from its centre crop.

        Args:
            sequences: as for `Encoder.embed`.
            batch_clips: sequences that are computed at a time.

        Raises:
            DataError: a sequence has another skeleton than the encoder, or fewer dimensions.
        """
        sequences = self.encoder.readable(sequences)
        device = next(self.encoder.parameters()).device
        self.encoder.eval()
        self.head.eval()
        probability = np.zeros((len(sequences), len(self.classes)), np.float32)
        for first in range(0, len(sequences), batch_clips):
            part = sequences[first : first + batch_clips]
            batch = batch_from_sequences(part, self.encoder.input, device, self.encoder.skeleton)
            scores = self.head(self.encoder(batch)).float()
            probability[first : first + batch_clips] = scores.softmax(dim=1).cpu().numpy()
        return probability

    def save(self, folder: Path | str, provenance: Mapping[str, Any]) -> None:
        """Write `encoder/`, `head.safetensors` and `head.json` into a folder.

        Args:
            folder: made if missing.
            provenance: plain values that tell where the recogniser came from.
        """
        folder = Path(folder)
        save_encoder(self.encoder, folder / "encoder", provenance)
        weights = plain_weights(self.head)
        # As with the encoder, the description comes last: a folder that has one has the weights that it describes.
        (folder / DESCRIPTION).unlink(missing_ok=True)
        write_whole(folder / WEIGHTS, lambda path: save_file(weights, path))
        write_text_whole(folder / DESCRIPTION, json.dumps(self.describe_head(provenance), indent=1) + "\n")

    def describe_head(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the file of the head says."""
        return {
            "version": HEAD_VERSION,
            "kind": self.head.kind,
            "config": self.head.config(),
            "classes": list(self.classes),
            "provenance": dict(provenance),
        }

    @classmethod
    def load(cls, folder: Path | str) -> "Recogniser":
        """Read a recogniser.

        Raises:
            CheckpointError: nothing is there, or it is damaged or of another version.
        """
        folder = Path(folder)
        if is_packed(folder):
            packed = read_packed(folder)
            if packed.head is None:
                raise CheckpointError(
                    f"{folder} holds an encoder without a head; expected a recogniser of `marrow finetune`, packed. "
                    "marrow.load_encoder reads it"
                )
            head, classes = _head_from(packed.head, packed.part("head"), folder)
            return cls(encoder_from(packed.encoder, packed.part("encoder"), folder), head, classes)
        if not (folder / DESCRIPTION).is_file():
            raise CheckpointError(
                f"{folder} holds no recogniser (expected encoder/, {WEIGHTS} and {DESCRIPTION}, as `marrow finetune` "
                "leaves them once it has finished, or a folder of `marrow pack`)"
            )
        try:
            description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            weights = load_file(folder / WEIGHTS)
        except Exception as error:  # whatever a damaged file brings, the person needs the file's name
            raise damaged(folder, "a recogniser", error) from error
        head, classes = _head_from(description, weights, folder)
        return cls(load_encoder(folder / "encoder"), head, classes)


def holds_recogniser(folder: Path) -> bool:
    """Tell whether a folder is that of a recogniser, packed or not."""
    return (folder / DESCRIPTION).is_file() or (is_packed(folder) and read_packed(folder).head is not None)


def _head_from(
    description: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path
) -> tuple[Head, tuple[str, ...]]:
    """Make a head of what its file says and its weights; return it with the names of the classes."""
    try:
        if description["version"] != HEAD_VERSION:
            made_by = description.get("provenance", {}).get("marrow", "(version unknown)")
            raise CheckpointError(
                f"{folder}: head format version {description['version']}, made by marrow {made_by}; this marrow reads "
                f"version {HEAD_VERSION}"
            )
        head = _HEADS[description["kind"]](**description["config"])
        head.load_state_dict(dict(weights))
        return head.eval(), tuple(description["classes"])
    except MarrowError:
        raise
    except Exception as error:
        raise damaged(folder, "a recogniser", error) from error
