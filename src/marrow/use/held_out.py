"""What a fine-tuned recogniser knows, learned by training its like on three quarters of the clips it learned from.

Of its own training clips a recogniser is surer than of any other. So the same training is done once more without a
quarter of the people (of the clips of every class, where people are not known or fewer than four), and that quarter
says how sure an answer may be and how far a new recording of a known class may be from what was learned. Temperature
and threshold are then those of the recogniser, beside the features of all clips that it has learned from.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from marrow.models.encoder import Encoder
from marrow.models.heads import Recogniser
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext
from marrow.tasks.recognition.finetune import start_of
from marrow.tasks.recognition.finetune_training import train, with_labels_used
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.run_directory import run_lock
from marrow.use.examples import folds_by_class
from marrow.use.known import HeldOut, Known
from marrow.use.labeller import Labeller
from marrow.use.unknown import Gallery

_log = logging.getLogger(__name__)

# One part in so many is held out.
_PARTS = 4
_FOLDER = "held_out"


def learn_what_is_known(
    out: Path,
    encoder: Encoder | Path | str,
    store: Store | Path | str,
    protocol: str,
    config: FinetuneConfig,
    *,
    from_scratch: bool = False,
    transfer: bool | Mapping[str, str | None] = False,
    context: TaskContext,
) -> Known | None:
    """Put what a recogniser knows beside it, or go on with that; the arguments are those of its `finetune`.

    Returns:
        what it knows; None where it was interrupted, and the same call goes on.
    """
    if (known := Known.load(out)) is not None:
        _note(out, known)
        return known
    start = start_of(encoder, store, protocol, config, from_scratch=from_scratch, transfer=transfer, context=context)
    data = with_labels_used(start.data, config, start.context)
    rows, label = data.train_rows, data.train_labels()
    held, chosen_on = held_out_quarter(label, start.store.subjects(), rows)
    longest = float((np.asarray(start.store.frame_count)[rows] / np.asarray(start.store.fps)[rows]).max())
    clips = _Clips(data.store, context.batch_clips)
    device = context.fabric().device
    recogniser = Labeller.of(Recogniser.load(out), None, device)
    gallery = Gallery.of(clips.of(recogniser, rows)[1], label)
    if not held.any() or len(np.unique(label[~held])) < 2:
        _log.info("too few training clips to hold some out: nothing says how sure an answer is")
        nothing = HeldOut(np.zeros((0, len(data.classes))), label[:0], np.zeros(0))
        known = Known.of(gallery, nothing, "there were too few training clips", longest)
    else:
        _log.info("training without %s", chosen_on)
        part = replace(data, train_rows=rows[~held], test_rows=rows[held])
        like = replace(config, label_fraction=1.0, scratch_budget="same_epochs", predict_every=config.epochs)
        with run_lock(out):
            training = train(out / _FOLDER, start.encoder, part, like, start.context, CheckpointConfig(keep_last=1))
        if training is None:
            return None
        known = Known.of(gallery, clips.held_out(training.recogniser, rows, label, held), chosen_on, longest)
    known.save(out)
    _note(out, known)
    shutil.rmtree(out / _FOLDER, ignore_errors=True)
    return known


def _note(out: Path, known: Known) -> None:
    """Put calibration into the report of a recogniser."""
    report = Report.load(out / "report.json")
    if report.noted.get("calibration") != known.noted():
        report.noted["calibration"] = known.noted()
        report.save(out / "report.json")


def held_out_quarter(
    label: Int64[np.ndarray, " clip"], subjects: np.ndarray | None, rows: Int64[np.ndarray, " clip"]
) -> tuple[Bool[np.ndarray, " clip"], str]:
    """Choose training clips to hold out: a quarter of the people, or of the clips of every class.

    Clips whose class would be lost with them are not among those that are held out, nor learned from without it.

    Returns:
        which clips are held out, and in words what they are.
    """
    people = None if subjects is None else subjects[rows]
    names = [] if people is None else sorted({name for name in people.tolist() if name is not None}, key=str)
    if people is not None and len(names) >= _PARTS:
        order = np.random.default_rng(0).permutation(len(names))
        chosen = [names[place] for place in sorted(order[: round(len(names) / _PARTS)].tolist())]
        held = np.isin(people.astype(str), [str(name) for name in chosen])
        said = f"the training clips of {len(chosen)} of {len(names)} people"
    else:
        folds = folds_by_class(label, _PARTS)
        held, said = folds == 0, "a quarter of the training clips of every class"
    return held & np.isin(label, label[~held]), said


@dataclass(frozen=True)
class _Clips:
    """Clips of a store in the layout of an encoder.

    Args:
        store: in that layout.
        batch_clips: that are computed at a time.
    """

    store: Store
    batch_clips: int

    def of(
        self, labeller: Labeller, rows: Int64[np.ndarray, " clip"]
    ) -> tuple[Float32[np.ndarray, "clip class"], Float32[np.ndarray, "clip dim"]]:
        """Return scores and features of clips."""
        blocks = [
            labeller.outputs([self.store.sequence(int(row)) for row in rows[first : first + self.batch_clips]])
            for first in range(0, len(rows), self.batch_clips)
        ]
        scores, features = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return scores, features

    def held_out(
        self,
        recogniser: Recogniser,
        rows: Int64[np.ndarray, " clip"],
        label: Int64[np.ndarray, " clip"],
        held: np.ndarray,
    ) -> HeldOut:
        """Ask a recogniser of the clips that it has not learned from."""
        labeller = Labeller.of(recogniser, None)
        learned = Gallery.of(self.of(labeller, rows[~held])[1], label[~held])
        scores, features = self.of(labeller, rows[held])
        return HeldOut(scores, label[held], learned.distance(features))
