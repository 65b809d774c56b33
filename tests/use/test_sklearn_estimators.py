"""Recordings in scikit-learn: its own checks, and what it promises of its parts."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from marrow.data.window import InputConfig
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.sklearn import MotionClassifier, MotionEncoder, sequences_from


def an_encoder(window_frames: int = 8) -> Encoder:
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=2)
    return PatchTransformer(config, InputConfig(window_frames=window_frames), KINECT_V2_25).fresh(0).eval()


def a_recording(number: int, label: int) -> SkeletonSequence:
    """Somebody whose hands go up (0) or apart (1), by so much that any encoder sees it."""
    rng = np.random.default_rng(number)
    joints = np.tile(rng.normal(0, 0.05, (1, 1, 25, 3)), (1, 12 + number % 5, 1, 1))
    joints += rng.normal(0, 0.02, joints.shape)
    joints[0, :, 6:12, label] += np.linspace(0, 2, joints.shape[1])[:, None]
    record = Record(f"r{number}", label=label)
    return SkeletonSequence(joints.astype(np.float32), np.ones(joints.shape[:3], bool), 30.0, KINECT_V2_25, record)


RECORDINGS = [a_recording(number, number % 2) for number in range(24)]
LABELS = np.array(["up" if sequence.record.label == 0 else "apart" for sequence in RECORDINGS])
SUBJECTS = np.arange(24) // 4


def as_channels(sequence: SkeletonSequence) -> np.ndarray:
    """Return (channels, time), as aeon and sktime have it."""
    return sequence.joints[0].reshape(sequence.frame_count, -1).T


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_encoder(an_encoder(), tmp_path / "encoder")
    return tmp_path / "encoder"


# The checks of scikit-learn hand over tables, in which no time is. So that they apply, each row is made a recording of
# two frames: its numbers are the first coordinates.


class _OfTables:
    def __repr__(self) -> str:
        return type(self).__name__  # the name of a test, which is to be short

    def __sklearn_tags__(self) -> Tags:
        tags: Any = super().__sklearn_tags__()  # type: ignore[misc]
        kinds = replace(tags.input_tags, two_d_array=True, three_d_array=False, allow_nan=False)
        return replace(tags, input_tags=kinds, requires_fit=True)

    def _recordings(self, X: Any, *, reset: bool = False) -> np.ndarray:
        if not reset:
            check_is_fitted(self)
        table = validate_data(self, X, reset=reset)
        channels = np.zeros((len(table), 150), np.float32)
        channels[:, : table.shape[1]] = table[:, :150]
        return channels.reshape(len(table), 75, 2)


class EncoderOfTables(_OfTables, MotionEncoder):
    def fit(self, X: Any, y: Any = None) -> "EncoderOfTables":
        super().fit(self._recordings(X, reset=True))
        return self

    def transform(self, X: Any) -> np.ndarray:
        return super().transform(self._recordings(X))


class ClassifierOfTables(_OfTables, MotionClassifier):
    def fit(self, X: Any, y: Any) -> "ClassifierOfTables":
        X, y = validate_data(self, X, y)
        super().fit(self._recordings(X, reset=True), y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        return super().predict(self._recordings(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(self._recordings(X))


_EXCEPTIONS = {
    "check_estimators_overwrite_params": (
        "joblib's hash of an encoder in memory depends on where its weights lie; a folder as the parameter passes"
    ),
    "check_do_not_raise_errors_in_init_or_set_params": (
        "in these tests, and in them alone, every call is checked against its annotations"
    ),
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [EncoderOfTables(an_encoder(4)), ClassifierOfTables(an_encoder(4))], expected_failed_checks=lambda _: _EXCEPTIONS
)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_parameters_are_not_overwritten(folder: Path) -> None:
    estimator = MotionEncoder(folder, layout="kinect_v2_25", fps=15.0)
    before = estimator.get_params()
    estimator.fit(RECORDINGS)
    assert estimator.get_params() == before


def test_features_are_those_of_the_encoder(folder: Path) -> None:
    features = MotionEncoder(folder).fit_transform(RECORDINGS)
    assert (features.dtype, features.shape) == (np.float32, (24, 16))
    assert (features == an_encoder().embed(RECORDINGS)).all()
    # There is nothing to fit.
    assert (MotionEncoder(folder).transform(RECORDINGS) == features).all()
    # In other batches the sums are taken in another order.
    np.testing.assert_allclose(MotionEncoder(folder, batch_clips=5).transform(RECORDINGS), features, atol=1e-5)


def test_arrays_are_the_same_recordings(folder: Path) -> None:
    features = MotionEncoder(folder).transform(RECORDINGS)
    arrays = [as_channels(sequence) for sequence in RECORDINGS]
    assert {array.shape[1] for array in arrays} == {12, 13, 14, 15, 16}
    for layout in (None, "kinect_v2_25", KINECT_V2_25):
        assert (MotionEncoder(folder, layout=layout).transform(arrays) == features).all()
    # As one array, filled up with NaN behind the end, as those have it who must.
    filled = np.full((24, 75, 16), np.nan)
    for number, array in enumerate(arrays):
        filled[number, :, : array.shape[1]] = array
    assert (MotionEncoder(folder).transform(filled) == features).all()


def test_what_is_nan_is_absent() -> None:
    array = as_channels(RECORDINGS[0]).copy()
    array[3 * 7 + 1, 4] = np.nan  # y of joint 7 in frame 4
    [sequence] = sequences_from([array], KINECT_V2_25, 25.0)
    assert sequence.fps == 25.0
    assert np.argwhere(~sequence.present).tolist() == [[0, 4, 7]]
    assert (sequence.joints[0, 4, 7] == 0).all()
    assert (sequence.joints[sequence.present] == RECORDINGS[0].joints[sequence.present]).all()


def test_two_dimensions_have_two_channels_a_joint() -> None:
    flat = replace(get_skeleton("coco_17"), dimensions=2)
    channels = np.arange(2 * 17 * 3, dtype=float).reshape(34, 3)
    [sequence] = sequences_from(channels[None], flat, 30.0)
    assert sequence.joints.shape == (1, 3, 17, 3)
    assert sequence.joints[0, 2, 1].tolist() == [channels[2, 2], channels[3, 2], 0.0]


@pytest.mark.parametrize(
    ("recordings", "said"),
    [
        ([], "at least one"),
        ("recordings", "got str"),
        (np.zeros((4, 75)), r"\(4, 75\)"),
        (np.zeros((4, 60, 9)), "75 channels"),
        ([np.zeros((9, 75))], "transpose"),
        ([np.full((75, 9), np.nan)], "nobody"),
        ([np.full((75, 9), np.inf)], "not finite"),
        ([["a", "b"]], "recording 0"),
        ([RECORDINGS[0], None], "recording 1"),
    ],
)
def test_what_is_no_recording_is_said(recordings: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        MotionEncoder(an_encoder()).fit(recordings)


def test_what_is_no_encoder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got int"):
        MotionEncoder().set_params(encoder=3).fit(RECORDINGS)
    with pytest.raises(ConfigError, match="kinect_v2_25"):
        MotionEncoder(an_encoder(), layout="kinect_v2_2").fit([as_channels(RECORDINGS[0])])
    with pytest.raises(NotFittedError):
        MotionClassifier(an_encoder()).predict(RECORDINGS)
    with pytest.raises(ValueError, match="inconsistent"):
        MotionClassifier(an_encoder()).fit(RECORDINGS, LABELS[:3])


def test_classes_are_learned(folder: Path) -> None:
    classifier = MotionClassifier(folder).fit(RECORDINGS[:16], LABELS[:16])
    assert classifier.classes_.tolist() == ["apart", "up"]
    probability = classifier.predict_proba(RECORDINGS[16:])
    assert probability.sum(1) == pytest.approx(1.0)
    assert (classifier.predict(RECORDINGS[16:]) == classifier.classes_[probability.argmax(1)]).all()
    assert classifier.score(RECORDINGS[16:], LABELS[16:]) == 1.0
    by_hand = make_pipeline(MotionEncoder(folder), StandardScaler(), LogisticRegression(max_iter=1000))
    by_hand.fit(RECORDINGS[:16], LABELS[:16])
    assert (by_hand.predict_proba(RECORDINGS[16:]) == probability).all()


def test_subjects_stay_together_in_cross_validation(folder: Path) -> None:
    seen: list[set[int]] = []

    class Spy(MotionClassifier):
        def fit(self, X: Any, y: Any) -> "Spy":
            seen.append({int(SUBJECTS[int(sequence.record.id[1:])]) for sequence in X})
            super().fit(X, y)
            return self

    scores = cross_val_score(Spy(folder), RECORDINGS, LABELS, groups=SUBJECTS, cv=GroupKFold(3))
    assert scores.tolist() == [1.0, 1.0, 1.0]
    assert [len(subjects) for subjects in seen] == [4, 4, 4]


def test_grid_search_tries_every_setting(folder: Path) -> None:
    search = GridSearchCV(MotionClassifier(folder), {"C": [1e-9, 1.0], "class_weight": [None, "balanced"]}, cv=2)
    search.fit(RECORDINGS, LABELS)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_params_["C"] == 1.0 or search.best_score_ == 1.0
    assert (search.predict(RECORDINGS) == LABELS).all()


@pytest.mark.parametrize("in_memory", [True, False])
def test_cloning_and_pickling_keep_what_was_learned(folder: Path, in_memory: bool) -> None:
    classifier = MotionClassifier(an_encoder() if in_memory else folder, C=0.5).fit(RECORDINGS, LABELS)
    probability = classifier.predict_proba(RECORDINGS)
    copy = clone(classifier)
    assert copy.C == 0.5
    assert not hasattr(copy, "pipeline_")
    assert (copy.fit(RECORDINGS, LABELS).predict_proba(RECORDINGS) == probability).all()
    assert (pickle.loads(pickle.dumps(classifier)).predict_proba(RECORDINGS) == probability).all()


def test_features_have_names(folder: Path) -> None:
    assert MotionEncoder(folder).get_feature_names_out().tolist() == [f"motion{number}" for number in range(16)]
    pandas = pytest.importorskip("pandas")
    frame = MotionEncoder(folder).set_output(transform="pandas").fit_transform(RECORDINGS)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns[-1] == "motion15"
    assert (frame.to_numpy() == MotionEncoder(folder).transform(RECORDINGS)).all()
