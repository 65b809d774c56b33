"""The encoder contract: all that a downstream task ever sees of a method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.sampling import batch_from_sequences
from marrow.data.window import InputConfig
from marrow.errors import DataError
from marrow.models.blocks import DropPath, seeded_weights
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.retarget import retarget
from marrow.skeleton.sequence import SkeletonSequence, as_sequences


@dataclass
class Features:
    """What an encoder says about a batch, on its own grid of time and joint.

    Args:
        tokens: one vector per body, encoder time and encoder joint (1 where the encoder has no joint axis); zero where
            absent.
        present: which tokens exist.
        summary: one vector per body that the encoder itself reads out (a class or fusion token, or more of its tokens
            than their average), of a length of its own; zero where the body is absent. None: it has none, and its
            tokens stand for the body.
    """

    tokens: Float[Tensor, "batch body time joint dim"]
    present: Bool[Tensor, "batch body time joint"]
    summary: Float[Tensor, "batch body summary_dim"] | None = None

    def _mean(self, axes: tuple[int, ...]) -> Float[Tensor, "..."]:
        """Average over axes, over what is present; zero where nothing is."""
        weight = self.present[..., None].to(self.tokens.dtype)
        return (self.tokens * weight).sum(axes) / weight.sum(axes).clamp(min=1.0)

    def pooled(self) -> Float[Tensor, "batch pooled_dim"]:
        """Average over bodies, and within a body over time and joints, or take its summary where there is one."""
        if self.summary is None:
            return self._mean((1, 2, 3))
        exists = self.present.flatten(2).any(2)[..., None].to(self.summary.dtype)
        return (self.summary * exists).sum(1) / exists.sum(1).clamp(min=1.0)

    def joints_kept(self) -> Float[Tensor, "batch joint_dim"]:
        """Average over bodies and time, keep the joints side by side."""
        return self._mean((1, 2)).flatten(1)

    def readout(self) -> Float[Tensor, "batch readout_dim"]:
        """Return the input of a head: the summary where there is one, else the joints side by side."""
        return self.joints_kept() if self.summary is None else self.pooled()

    def over_time(self) -> Float[Tensor, "batch time dim"]:
        """Average over bodies and joints, keep time."""
        return self._mean((1, 3))


@dataclass(frozen=True)
class FeatureShape:
    """The shape of the features of a full window, for which a head is built.

    Args:
        times: steps of the time axis; at the recorded pace a clip that is shorter than the window has fewer.
        joints: joints of the tokens; 1 where the encoder has no joint axis.
        dim: length of a feature vector.
        summary_dim: length of the summary of each body; None: there is none.
    """

    times: int
    joints: int
    dim: int
    summary_dim: int | None = None


@dataclass(frozen=True)
class JointAxis:
    """Where the joints are in a parameter.

    Args:
        axis: that goes through the joints in the order of the layout.
        values: numbers of each joint there, one after the other: 3 for its coordinates.
    """

    axis: int
    values: int = 1


class Encoder(nn.Module, ABC):
    """A network from a batch of windows to features, made by `Encoder(config, input, skeleton)`.

    Attributes:
        config_type: the frozen dataclass of its size; must be made of plain values.
        skeleton: the layout it expects.
        input: the window, stream and alignment it was trained on; part of the encoder, so that it can never be probed
            on another input by mistake.
        feature_shape: the shape of its features.
        frames_per_token: input frames per step of the encoder's time axis.
        config: its size; a frozen dataclass of its own kind.
        branches: residual branches that `drop` can leave out; 0 where there are none, and `drop` changes nothing.
        sizes: settings that have a name, which every score then mentions.
    """

    config_type: ClassVar[type]
    sizes: ClassVar[Mapping[str, Any]] = {}

    config: Any
    skeleton: Skeleton
    input: InputConfig
    feature_shape: FeatureShape
    frames_per_token: int
    branches: int = 0

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.feature_shape.dim

    @property
    def pooled_dim(self) -> int:
        """Length of a pooled feature vector (`Features.pooled`)."""
        return self.feature_shape.summary_dim or self.dim

    @property
    def takes_flat(self) -> bool:
        """Whether recordings in two dimensions may come besides those in three (`Batch.flat`)."""
        return False

    @property
    def is_by_place(self) -> bool:
        """Whether its joints are the places of the body, so that recordings of any layout are brought to it."""
        return self.skeleton.joints == BODY.joints

    @abstractmethod
    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Encode every present body of a batch.

        Args:
            batch: windows as `input` says.
            drop: which residual branches are left out (fine-tuning); None: none.
        """

    @abstractmethod
    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, in groups from the input to the output.

        Fine-tuning gives each group a learning rate that falls with its distance from the output (layer decay). The
        last group is what follows the last block; it learns as fast as the head does.
        """

    def joint_axes(self) -> Mapping[str, JointAxis] | None:
        """Say which parameters have an axis of joints, by their names in `state_dict()`.

        All others must be of the same size whatever the layout. This is what an encoder is adapted to another layout
        by (`marrow.models.adapt`). None: it does not say, and cannot be adapted.
        """
        return None

    def size_name(self) -> str | None:
        """Return the name of its size, or None where that has none."""
        return next((name for name, config in self.sizes.items() if config == self.config), None)

    def one_sided(self) -> "Encoder":
        """Return an encoder of the same weights whose summary holds no mirror image; itself where it holds none."""
        return self

    def fresh(self, seed: int, skeleton: Skeleton | None = None) -> "Encoder":
        """Return the same architecture at random initialisation, on the same device: every score's baseline.

        Args:
            seed: of the weights.
            skeleton: the layout that it is to expect; None: the same.
        """
        kind: Any = type(self)
        with seeded_weights(seed):
            encoder = kind(self.config, self.input, skeleton or self.skeleton)
        return encoder.to(next(self.parameters()).device)

    def readable(self, sequences: Sequence[SkeletonSequence]) -> list[SkeletonSequence]:
        """Return sequences as the encoder reads them: brought to its layout, where its joints are places of the body.

        Raises:
            DataError: something is no sequence, or has another skeleton or fewer dimensions than the encoder.
            ConfigError: a layout has no joint that is known as a place of the body.
        """
        sequences = as_sequences(sequences)
        if self.is_by_place:
            sequences = [
                sequence if sequence.skeleton.joints == self.skeleton.joints else retarget(sequence, self.skeleton)
                for sequence in sequences
            ]
        self._require_skeleton(sequences)
        return list(sequences)

    def _require_skeleton(self, sequences: Sequence[SkeletonSequence]) -> None:
        for sequence in sequences:
            if sequence.skeleton.dimensions != self.skeleton.dimensions and not self.takes_flat:
                raise DataError(
                    f"{sequence.record.id}: the encoder reads {self.skeleton.dimensions} dimensions, this has "
                    f"{sequence.skeleton.dimensions}"
                )
            if sequence.skeleton.joints != self.skeleton.joints:
                raise DataError(
                    f"{sequence.record.id}: the encoder expects skeleton {self.skeleton.name!r} "
                    f"({len(self.skeleton.joints)} joints), got {sequence.skeleton.name!r} "
                    f"({len(sequence.skeleton.joints)} joints)"
                )

    @torch.inference_mode()
    def embed(
        self, sequences: Sequence[SkeletonSequence], *, batch_clips: int = 64
    ) -> Float32[np.ndarray, "sequence dim"]:
        """Return one pooled feature vector per sequence, from its centre crop.

        Args:
            sequences: in metres, of any length, in the encoder's own skeleton; in any where its joints are places of
                the body (`is_by_place`).
            batch_clips: sequences that are computed at a time.

        Raises:
            DataError: a sequence has another skeleton than the encoder, or fewer dimensions.
        """
        sequences = self.readable(sequences)
        device, training = next(self.parameters()).device, self.training
        self.eval()
        pooled = np.zeros((len(sequences), self.pooled_dim), np.float32)
        for first in range(0, len(sequences), batch_clips):
            batch = batch_from_sequences(sequences[first : first + batch_clips], self.input, device, self.skeleton)
            pooled[first : first + batch_clips] = self(batch).pooled().cpu().numpy()
        self.train(training)
        return pooled
