"""Classes from a few examples: logistic regression on the features of an encoder that stays as it is.

What the model knows is learned by holding out some of the people in turn, where the examples say who is in them
(attribute `subject`), else some examples of every class; of a class with one example there is none to hold out.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from marrow.data.subsets import chosen_rows
from marrow.errors import ConfigError, DataError
from marrow.importing.detect import files_below
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.models.heads import holds_recogniser
from marrow.progress import counting
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.tasks.detection.kept import DESCRIPTION as DETECTOR
from marrow.tasks.prediction.kept import DESCRIPTION as FORECASTER
from marrow.tasks.recognition.readouts import LogisticHead
from marrow.train.device import make_fabric
from marrow.use.inputs import is_store, read_all, readable, reader_of
from marrow.use.known import HeldOut, Known
from marrow.use.labeller import Labeller
from marrow.use.predict import windows_of
from marrow.use.same_recording import KnownRecordings
from marrow.use.unknown import Gallery

_log = logging.getLogger(__name__)

_FOLDS = 5
# Examples that are computed at a time.
_BATCH_CLIPS = 64


def open_labeller(model: str, examples: Path | None, device: str = "cpu", *, every: float | None = None) -> Labeller:
    """Return the model that a person means.

    Args:
        model: a recogniser's folder; with examples, what `load_encoder` takes.
        examples: folder or store of examples; None: the model knows classes itself.
        device: auto, cpu, cuda, cuda:N or mps.
        every: length in seconds of the windows that it will be asked about; None: whole recordings.

    Raises:
        ConfigError: an encoder without examples.
        CheckpointError: there is no model.
        DataError: of the examples.
    """
    place = make_fabric(device, "fp32")[0].device
    if examples is not None:
        encoder = load_encoder(model).to(place)
        recordings, classes = examples_of(examples)
        readable_ones = [readable(encoder, sequence, model) for sequence in recordings]
        return labeller_from_examples(encoder, readable_ones, classes, str(examples), every=every)
    folder = Path(model)
    if holds_recogniser(folder):
        return Labeller.load(folder, place)
    if (folder / DETECTOR).is_file():
        raise ConfigError(f"{model} is a detector, which says when what is done: ask it with --segments")
    if (folder / FORECASTER).is_file():
        raise ConfigError(f"{model} is a forecaster, which says how a recording goes on: ask it with `marrow forecast`")
    load_encoder(model)  # says what is wrong where there is none
    raise ConfigError(
        f"{model} is an encoder, which knows no classes: show it some with --examples FOLDER (a few recordings in "
        "folders named after their classes), or train it on labels with `marrow finetune`"
    )


def examples_of(path: Path) -> tuple[list[SkeletonSequence], tuple[str, ...]]:
    """Read examples: those of a store, or below folders that are named after their classes.

    Behind the folder of a store may stand which of its clips: `stores/mine:xsub/train`, or a filter. What cannot be
    read is left out, and logged.

    Returns:
        recordings with their labels, and the names of the classes.
    """
    folder, _, rows = str(path).partition(":")
    if rows and not path.exists() and is_store(Path(folder)):
        store = Store.open(folder)
        chosen, _ = chosen_rows(store, rows)
        return [store.sequence(int(row)) for row in chosen], tuple(store.classes)
    if not path.is_dir():
        raise DataError(
            f"--examples expects a folder that holds one folder per class, or a store, behind which may stand which of "
            f"its clips (stores/mine:xsub/train); {path} is none"
        )
    if is_store(path):
        store = Store.open(path)
        return [store.sequence(row) for row in range(len(store))], tuple(store.classes)
    try:
        reader, root = reader_of(path, {"labels": "folder"})
    except ConfigError as error:  # it is about an option that is not given here
        below = {file.parent.name for file in files_below([path]) if file.parent != path}
        raise _too_few_classes(path, sorted(below)) from error
    sequences = []
    count = len(reader.findings.members) if reader.findings else 0
    with counting(f"reading {path}", "examples") as progress:
        for done, (_, sequence) in enumerate(read_all(reader, root, {})):
            progress(done, count)
            if isinstance(sequence, DataError):
                _log.warning("! example left out: %s", sequence)
            else:
                sequences.append(sequence)
    return sequences, reader.classes


def labeller_from_examples(
    encoder: Encoder,
    examples: Sequence[SkeletonSequence],
    classes: Sequence[str],
    source: str,
    *,
    every: float | None = None,
) -> Labeller:
    """Learn classes from examples.

    Args:
        encoder: stays as it is.
        examples: recordings; their labels are places in `classes`.
        classes: names.
        source: of the examples, for messages.
        every: length in seconds of the windows that the model will be asked about: examples are cut into such windows,
            too, for whoever learned from whole walks and short runs takes two seconds of a walk for a run. None: whole
            recordings.

    Raises:
        DataError: there are fewer than two classes, or recordings without one.
    """
    label = np.array([sequence.record.label for sequence in examples], np.int64)
    unlabelled = [sequence.record.id for sequence in examples if sequence.record.label < 0]
    if unlabelled:
        raise DataError(
            f"expected every example in a folder that is named after its class; {unlabelled[0]!r} of {source} "
            f"has none{f', nor have {len(unlabelled) - 1} others' if len(unlabelled) > 1 else ''}"
        )
    if len(np.unique(label)) < 2:
        raise _too_few_classes(source, [str(classes[number]) for number in np.unique(label).tolist()])
    present = np.unique(label)  # a class whose files could not be read has no example
    place = np.searchsorted(present, label)
    names = tuple(str(classes[number]) for number in present.tolist())
    longest = max(sequence.frame_count / sequence.fps for sequence in examples)
    counts = zip(names, np.bincount(place).tolist(), strict=True)
    _log.info("learning from %s", ", ".join(f"{count} of {name}" for name, count in counts))
    parts = [(number, part) for number, example in enumerate(examples) for part in windows_of(example, every)]
    recording, clips = np.array([number for number, _ in parts]), [part for _, part in parts]
    people = [sequence.record.attributes.get("subject") for sequence in examples]
    known_people = None if None in people else np.array([str(name) for name in people])[recording]
    features = [np.zeros((0, encoder.pooled_dim), np.float32)]
    with counting(f"learning from {source}", "examples" if every is None else "windows") as progress:
        for first in range(0, len(clips), _BATCH_CLIPS):
            progress(first, len(clips))
            features.append(encoder.embed(clips[first : first + _BATCH_CLIPS]))
    labeller = labeller_from_features(
        encoder, np.concatenate(features), place[recording], names, longest, known_people, recording
    )
    return replace(labeller, examples=KnownRecordings.of(encoder.readable(examples)))


def labeller_from_features(
    encoder: Encoder,
    features: Float32[np.ndarray, "clip dim"],
    label: Int64[np.ndarray, " clip"],
    classes: tuple[str, ...],
    longest_seconds: float,
    people: np.ndarray | None = None,
    recording: Int64[np.ndarray, " clip"] | None = None,
) -> Labeller:
    """Learn classes from pooled features.

    Args:
        encoder: that they are of.
        features: of the examples.
        label: of each; every class has some.
        classes: names.
        longest_seconds: duration of the longest example.
        people: who is in each; None: not known.
        recording: number of the example that each is a part of, from 0; None: each is one.
    """
    if recording is None:
        recording = np.arange(len(label))
    of_recording = label[np.unique(recording, return_index=True)[1]]
    single = [name for name, count in zip(classes, np.bincount(of_recording), strict=True) if count == 1]
    if single:
        _log.info(
            "%s: one example only: nothing says how much such recordings vary, and how sure an answer is", _few(single)
        )
    folds = None if people is None else _folds_by_person(label, people)
    chosen_on = "people held out in turn"
    if folds is None:
        # Windows of one example are held out together.
        folds = folds_by_class(of_recording, _FOLDS)[np.unique(recording, return_inverse=True)[1]]
        chosen_on = "examples of every class held out in turn" if folds.max() > 0 else "no class has two examples"
    held_out = _held_out(features, label, folds)
    known = Known.of(Gallery.of(features, label), held_out, chosen_on, longest_seconds)
    return Labeller(encoder, classes, LogisticHead.fitted(features, label), known)


def folds_by_class(label: Int64[np.ndarray, " clip"], most: int) -> Int64[np.ndarray, " clip"]:
    """Deal the clips of every class out to folds; -1: the only clip of its class, which is never held out.

    Args:
        label: of the clips.
        most: folds.
    """
    rng = np.random.default_rng(0)
    folds = np.full(len(label), -1, np.int64)
    for number in np.unique(label):
        clips = rng.permutation(np.flatnonzero(label == number))
        if len(clips) > 1:
            folds[clips] = np.arange(len(clips)) % most
    return folds


def _folds_by_person(label: Int64[np.ndarray, " clip"], people: np.ndarray) -> Int64[np.ndarray, " clip"] | None:
    """Deal people out to folds; None where there are too few, or a class would be lost with one of the folds."""
    names, person = np.unique(people, return_inverse=True)
    folds = np.random.default_rng(0).permutation(len(names))[person] % _FOLDS
    classes = len(np.unique(label))
    whole = len(names) >= _FOLDS and all(len(np.unique(label[folds != fold])) == classes for fold in range(_FOLDS))
    return folds if whole else None


def _held_out(
    features: Float32[np.ndarray, "clip dim"], label: Int64[np.ndarray, " clip"], folds: Int64[np.ndarray, " clip"]
) -> HeldOut:
    """Ask of every fold what the others make of it. Every class has a clip among the others."""
    scores, labels, distances = [np.zeros((0, label.max() + 1))], [label[:0]], [np.zeros(0)]
    for fold in range(folds.max() + 1):
        held = folds == fold
        scores.append(LogisticHead.fitted(features[~held], label[~held]).scores(features[held]))
        distances.append(Gallery.of(features[~held], label[~held]).distance(features[held]))
        labels.append(label[held])
    return HeldOut(np.concatenate(scores), np.concatenate(labels), np.concatenate(distances))


def _too_few_classes(source: Path | str, found: Sequence[str]) -> DataError:
    """Return the error of examples of fewer than two classes."""
    folders = f"in folders below {source} that are named after them"
    if found:
        got, mend = f"{found[0]} alone", f"put recordings of another class, or of anything else, into {source}/other"
    else:
        got = "no such folder"
        mend = f"make {source}/NAME for each class, or name the folder above where {source} is that of one class"
    return DataError(f"expected a few recordings of at least two classes, {folders}; got {got}. To mend it, {mend}")


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
