"""Classes from a few examples: what is held out, and what is said where there is too little."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError
from marrow.models.export import load_encoder
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.use.examples import (
    examples_of,
    folds_by_class,
    labeller_from_examples,
    labeller_from_features,
    open_labeller,
)
from marrow.use.known import Known


def test_every_class_is_dealt_out_to_all_folds() -> None:
    folds = folds_by_class(np.array([0] * 10 + [1] * 5 + [2]), 5)
    assert np.bincount(folds[:10]).tolist() == [2, 2, 2, 2, 2]
    assert np.bincount(folds[10:15]).tolist() == [1, 1, 1, 1, 1]
    assert folds[15] == -1  # the only clip of its class is never held out


def test_clusters_are_told_apart_and_what_lies_elsewhere_is_unknown(encoder_folder: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    features = (rng.normal(size=(60, 16)) + 8.0 * label[:, None]).astype(np.float32)
    labeller = labeller_from_features(load_encoder(encoder_folder), features, label, ("low", "high"), 1.0)
    assert labeller.known is not None
    new = np.stack([np.zeros(16), np.full(16, 8.0), np.tile([40.0, -40.0], 8)]).astype(np.float32)
    low, high, elsewhere = labeller.judged(np.log([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]), new)
    assert [low.is_unknown, high.is_unknown, elsewhere.is_unknown] == [False, False, True]
    assert low.probability.argmax() == 0
    assert high.probability.argmax() == 1
    assert labeller.known.held_out_clips == 60


def test_people_are_held_out_in_turn_where_they_are_known(encoder_folder: Path) -> None:
    """Everybody has features of their own: other people are farther off than other clips of the same ones."""
    rng = np.random.default_rng(0)
    person, label = np.repeat(np.arange(10), 10), np.arange(100) % 2
    own = 4.0 * rng.normal(size=(10, 16))
    features = (own[person] + 0.1 * rng.normal(size=(100, 16)) + 20.0 * label[:, None]).astype(np.float32)
    encoder = load_encoder(encoder_folder)
    without = labeller_from_features(encoder, features, label, ("low", "high"), 1.0).known
    knowing = labeller_from_features(encoder, features, label, ("low", "high"), 1.0, person.astype(str)).known
    assert without is not None
    assert knowing is not None
    assert knowing.threshold > 3.0 * without.threshold


def test_a_class_that_only_one_person_shows_does_not_get_lost(encoder_folder: Path) -> None:
    features = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    person, label = np.arange(30) % 5, np.where(np.arange(30) % 5 == 0, 1, 0)
    known = labeller_from_features(
        load_encoder(encoder_folder), features, label, ("all", "one"), 1.0, person.astype(str)
    ).known
    assert known is not None
    assert known.held_out_clips == 30
    assert "every class" in known.chosen_on


def test_with_one_example_of_each_class_nothing_is_calibrated_or_unknown(encoder_folder: Path) -> None:
    features = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    labeller = labeller_from_features(load_encoder(encoder_folder), features, np.arange(3), ("a", "b", "c"), 1.0)
    assert labeller.known is not None
    assert (labeller.known.temperature, labeller.known.threshold) == (1.0, None)
    assert "not calibrated" in labeller.known.sentences()[0]
    assert labeller.judged(np.zeros((1, 3)), features[:1])[0].is_unknown is None


def test_windows_of_one_example_are_held_out_together(encoder_folder: Path) -> None:
    """Each example has a place of its own, far from the others: what is held out alone lies far off."""
    rng = np.random.default_rng(0)
    recording, label = np.repeat(np.arange(6), 4), np.repeat([0, 1], 12)
    features = (50.0 * rng.normal(size=(6, 16))[recording] + 0.1 * rng.normal(size=(24, 16))).astype(np.float32)
    encoder = load_encoder(encoder_folder)
    alone = labeller_from_features(encoder, features, label, ("a", "b"), 1.0).known
    together = labeller_from_features(encoder, features, label, ("a", "b"), 1.0, None, recording).known
    assert alone is not None
    assert together is not None
    assert together.held_out_clips == alone.held_out_clips == 24
    assert alone.median_distance is not None
    assert together.median_distance is not None
    assert together.median_distance > 10.0 * alone.median_distance


def test_examples_are_cut_as_the_recordings_that_are_asked_about(encoder_folder: Path, examples: Path) -> None:
    encoder = load_encoder(encoder_folder)
    recordings, classes = examples_of(examples)
    seconds = recordings[0].frame_count / recordings[0].fps
    whole = labeller_from_examples(encoder, recordings, classes, "these")
    cut = labeller_from_examples(encoder, recordings, classes, "these", every=seconds / 2)
    assert whole.known is not None
    assert cut.known is not None
    assert whole.known.gallery is not None
    assert cut.known.gallery is not None
    assert len(whole.known.gallery.features) == len(recordings)
    assert len(cut.known.gallery.features) == 2 * len(recordings)


def test_too_few_held_out_clips_say_nothing_of_what_is_unknown(encoder_folder: Path) -> None:
    features = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    labeller = labeller_from_features(load_encoder(encoder_folder), features, np.arange(8) % 2, ("a", "b"), 1.0)
    known = labeller.known
    assert known is not None
    assert (known.held_out_clips, known.threshold) == (8, None)
    assert known.held_out_right is not None
    assert 0 <= known.held_out_right <= 8
    assert labeller.judged(np.zeros((1, 2)), features[:1])[0].is_unknown is None


def test_examples_come_with_the_names_of_their_folders(examples: Path) -> None:
    recordings, classes = examples_of(examples)
    assert classes == ("step", "wave")
    assert [recording.record.label for recording in recordings] == [0] * 6 + [1] * 6


def test_one_class_is_not_enough(encoder_folder: Path, examples: Path) -> None:
    for file in (examples / "step").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=f"wave alone.*{examples}/other"):
        open_labeller(str(encoder_folder), examples)


def test_it_is_counted_how_many_examples_are_read_and_learned_from(
    encoder_folder: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that work of more than ten seconds says how long it takes."""
    counted: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def counting(what: str, _unit: str = ""):
        yield lambda done, total: counted.setdefault(what, []).append((done, total))

    monkeypatch.setattr("marrow.use.examples.counting", counting)
    monkeypatch.setattr("marrow.use.examples._BATCH_CLIPS", 5)
    labeller = open_labeller(str(encoder_folder), examples)
    assert counted[f"reading {examples}"] == [(done, 12) for done in range(12)]
    assert counted[f"learning from {examples}"] == [(0, 12), (5, 12), (10, 12)]
    assert labeller.known is not None
    assert labeller.known.held_out_clips == 12


def test_the_distance_of_the_held_out_clips_in_the_middle_is_kept(encoder_folder: Path, tmp_path: Path) -> None:
    """The border of what is unknown says something only beside it."""
    rng = np.random.default_rng(0)
    features, label = rng.normal(size=(40, 16)).astype(np.float32), np.arange(40) % 2
    known = labeller_from_features(load_encoder(encoder_folder), features, label, ("a", "b"), 1.0).known
    assert known is not None
    assert known.threshold is not None
    assert known.median_distance is not None
    assert 0 < known.median_distance < known.threshold
    assert f"{known.median_distance:.3g}" in known.sentences()[1]
    known.save(tmp_path)
    loaded = Known.load(tmp_path)
    assert loaded is not None
    assert (loaded.threshold, loaded.median_distance) == (known.threshold, known.median_distance)
    # What was kept before does not have it.
    kept = json.loads((tmp_path / "known.json").read_text())
    del kept["median_distance"]
    (tmp_path / "known.json").write_text(json.dumps(kept))
    older = Known.load(tmp_path)
    assert older is not None
    assert older.median_distance is None
    assert f"{older.threshold:.3g}" in older.sentences()[1]


def test_a_recording_beside_the_folders_has_no_class(encoder_folder: Path, examples: Path, table) -> None:
    table(examples / "stray.csv", "wave")
    with pytest.raises(DataError, match="stray"):
        open_labeller(str(encoder_folder), examples)


def test_some_clips_of_a_store_are_examples(tmp_path: Path) -> None:
    """Behind the folder stands which: by a filter here."""
    joints = np.ones((1, 4, 20, 3), np.float32)
    seen = np.ones(joints.shape[:3], np.bool_)
    sequences = [
        SkeletonSequence(joints, seen, 30.0, KINECT_V1_20, Record(f"{n}", label=n % 2, attributes={"subject": n // 2}))
        for n in range(6)
    ]
    write_store(tmp_path / "store", sequences, source="test", classes=("left", "up"))
    some, classes = examples_of(tmp_path / "store:subject=0,2")
    assert classes == ("left", "up")
    assert [sequence.record.id for sequence in some] == ["0", "1", "4", "5"]
    with pytest.raises(ConfigError, match="subject=9"):
        examples_of(tmp_path / "store:subject=9")
    with pytest.raises(DataError, match="nowhere:subject=9 is none"):
        examples_of(tmp_path / "nowhere:subject=9")
