"""A model as a function of plain arrays, which can be traced: what `marrow export` writes.

Encoders read a `Batch`, whose sizes may follow from what is present in it. Here every body of a batch is a row that is
computed, absent or not, so that all sizes follow from those of the arrays.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

import marrow
from marrow.data.batch import Batch, Shapes
from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.models.heads import Recogniser, holds_recogniser
from marrow.runtime.description import Description
from marrow.runtime.prepare import Inputs
from marrow.skeleton.sequence import SkeletonSequence
from marrow.tasks.detection.kept import DESCRIPTION as DETECTOR
from marrow.tasks.prediction.kept import DESCRIPTION as FORECASTER
from marrow.tasks.recognition.readouts import LogisticHead
from marrow.use.examples import open_labeller
from marrow.use.labeller import Labeller
from marrow.use.segments import SegmentFinder

Exportable = Encoder | Labeller | SegmentFinder
# Recordings that are computed at a time.
_BATCH_CLIPS = 64
# What using a detector takes of its settings.
_OF_DETECTOR = ("window_seconds", "stride_seconds", "smoothing_frames")


def load_model(source: Exportable | Recogniser | Path | str, examples: Path | None = None) -> Exportable:
    """Return what a folder holds: a recogniser with what it knows, a detector, or an encoder; one in memory as it is.

    Args:
        source: the folder, the name of an encoder, or a model.
        examples: for an encoder, which then names their classes.

    Raises:
        CheckpointError: there is none.
        ConfigError: what is there cannot be exported.
        DataError: of the examples.
    """
    if isinstance(source, Exportable):
        return source
    if isinstance(source, Recogniser):
        return Labeller.of(source, None)
    if examples is not None:
        return open_labeller(str(source), examples)
    folder = Path(source)
    if holds_recogniser(folder):
        return Labeller.load(folder)
    if (folder / DETECTOR).is_file():
        return SegmentFinder.load(folder)
    if (folder / FORECASTER).is_file():
        raise ConfigError(
            f"{source} is a forecaster, which cannot be exported: `marrow forecast` runs it, and {folder / 'encoder'} "
            "alone can be exported"
        )
    return load_encoder(source)


def encoder_of(model: Exportable) -> Encoder:
    """Return the encoder of a model."""
    if isinstance(model, SegmentFinder):
        return model.detector.encoder
    return model.encoder if isinstance(model, Labeller) else model


def head_of(model: Exportable) -> nn.Module | None:
    """Return what makes scores of features; None of an encoder."""
    if isinstance(model, SegmentFinder):
        return model.detector.head
    if not isinstance(model, Labeller):
        return None
    head = model.score.as_layer(len(model.classes)) if isinstance(model.score, LogisticHead) else model.score
    assert isinstance(head, nn.Module)
    return head


def describe(model: Exportable) -> Description:
    """Return what an exported file says of a model."""
    encoder, detector = encoder_of(model), None
    if isinstance(model, SegmentFinder):
        detector = {name: getattr(model.detector.config, name) for name in _OF_DETECTOR}
    return Description(
        kind="recogniser" if isinstance(model, Labeller) else "detector" if detector else "encoder",
        classes=() if isinstance(model, Encoder) else model.classes,
        skeleton=encoder.skeleton,
        input=asdict(encoder.input),
        by_place=encoder.is_by_place,
        takes_flat=encoder.takes_flat,
        made_by=marrow.__version__,
        temperature=model.temperature if isinstance(model, Labeller) else 1.0,
        detector=detector,
    )


class PlainModel(nn.Module):
    """A model as a function of arrays; arguments and answer are those of `marrow.runtime`.

    Args:
        model: on the CPU.
    """

    def __init__(self, model: Exportable) -> None:
        super().__init__()
        self.encoder = encoder_of(model)
        self.head = head_of(model)
        self.of_steps = isinstance(model, SegmentFinder)
        self.temperature = model.temperature if isinstance(model, Labeller) else 1.0
        self.joint_count = len(self.encoder.skeleton.joints)
        self.eval()

    def forward(
        self,
        joints: Tensor,
        present: Tensor,
        place: Tensor | None = None,
        flat: Tensor | None = None,
        frame_count: Tensor | None = None,
    ) -> Tensor:
        """Answer.

        Args:
            joints: [batch body time joint 3]; `Inputs` says of what.
            present: [batch body time joint], bool.
            place: [joint], int64: which joint of the encoder each of them is; None: all, in their order.
            flat: [batch], bool: which have two dimensions; None: none.
            frame_count: [batch], int64: frames of each in its window; None: all.

        Returns:
            [batch class], probabilities, of a recogniser; [batch step class], scores before the softmax, of a detector;
            [batch dim], pooled features, of an encoder.
        """
        clips, bodies = joints.shape[0], joints.shape[1]
        most_joints = None
        if place is not None:
            most_joints = place.shape[0]
            matches = place[None, :] == torch.arange(self.joint_count, device=place.device)[:, None]
            source, exists = matches.to(torch.int64).argmax(1), matches.any(1)
            joints = torch.where(exists[:, None], joints[:, :, :, source], 0.0)
            present = present[:, :, :, source] & exists
        batch = Batch(
            *(joints, present),
            label=torch.full((clips,), -1, device=joints.device),
            row=torch.arange(clips, device=joints.device),
            frame_count=frame_count,
            shapes=Shapes(clips * bodies, whole=False, joints=most_joints),
            flat=flat,
        )
        features = self.encoder(batch)
        if self.head is None:
            return features.pooled()
        scores = self.head(features)
        return scores if self.of_steps else (scores / self.temperature).softmax(dim=1)


def trace(plain: PlainModel, description: Description) -> ExportedProgram:
    """Return a model as a graph, for any number of recordings, bodies and places, and at recorded pace of frames.

    Raises:
        ConfigError: the encoder does something that cannot be traced.
    """
    example = {name: torch.from_numpy(value) for name, value in _example(description).arrays().items()}
    clips, bodies = Dim("clips", min=1), Dim("bodies", min=1)
    sizes: dict[int, Any] = {0: clips, 1: bodies}
    if description.input["pace"] == "recorded":
        sizes[2] = Dim("frames", min=description.input["min_frames"], max=description.input["window_frames"])
    if description.by_place:
        # Some are derived in every recording, and so never given: the middle of the hips.
        sizes[3] = Dim("places", min=2, max=plain.joint_count - 1)
    of_each: dict[str, Any] = {"place": {0: sizes.get(3)}, "flat": {0: clips}, "frame_count": {0: clips}}
    shapes = {name: of_each.get(name, sizes) for name in example}
    try:
        with torch.no_grad():
            program = torch.export.export(plain, (), example, dynamic_shapes=shapes, strict=True)
    except Exception as error:  # whatever torch has against it, the person needs the encoder's name
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(
            f"{type(plain.encoder).__name__} cannot be exported: {type(error).__name__}: {reason}. With `batch.shapes` "
            "given, forward() may read nothing from the batch: no .item(), nonzero, boolean index or `if tensor`"
        ) from error
    # Some of torch's guards tell one body from several: to them 1 is a special size. The graph is the same for both, as
    # the check of the file shows, and the range of every size is still checked.
    program._guards_code = []
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # names files of this machine
    return program


def _example(description: Description) -> Inputs:
    """Return arrays of such sizes that none is mistaken for a constant."""
    clips, bodies, joints = 3, 2, len(description.skeleton.joints)
    frames = description.input["window_frames"]
    place = np.arange(max(2, joints // 2)) if description.by_place else None
    shape = clips, bodies, frames, joints if place is None else len(place)
    return Inputs(
        joints=np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32),
        present=np.ones(shape, np.bool_),
        place=place,
        flat=np.zeros(clips, np.bool_) if description.takes_flat else None,
        frame_count=np.full(clips, frames) if description.input["pace"] == "recorded" else None,
    )


def eager(model: Exportable, sequences: Sequence[SkeletonSequence]) -> np.ndarray:
    """Return what a model in memory says of recordings: probabilities, as `marrow predict` says them, or features.

    Of a detector, those of the frames of all recordings, one behind the other.
    """
    if isinstance(model, Encoder):
        return model.embed(sequences)
    sequences = encoder_of(model).readable(sequences)
    if isinstance(model, SegmentFinder):
        return np.concatenate([model.frames(sequence) for sequence in sequences])
    starts = range(0, len(sequences), _BATCH_CLIPS)
    judged = [judgement for start in starts for judgement in model.judge(sequences[start : start + _BATCH_CLIPS])]
    return np.stack([judgement.probability for judgement in judged])
