import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from marrow.cli.main import main
from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.base import Split
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks import embedding

DIM = 16


def _encoder(skeleton: Skeleton) -> PatchTransformer:
    config = PatchTransformerConfig(width=DIM, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, test_crop=1.0), skeleton).fresh(7)


def _sequences() -> list[SkeletonSequence]:
    generator = np.random.default_rng(0)
    sequences = []
    for number in range(12):
        joints = np.cumsum(generator.normal(0, 0.02, (1, 10 + number, 20, 3)), axis=1).astype(np.float32)
        attributes: dict[str, int | str] = {"subject": number % 3}
        if number % 2:
            attributes["place"] = "Küche"
        record = Record(f"clip{number:02d}", label=number % 4 - 1, attributes=attributes)
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record))
    return sequences


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twelve clips of three classes; every fourth has no label. Subject 0 trains, subject 1 tests, 2 does neither."""
    split = Split(lambda record: record.attributes["subject"] == 0, lambda record: record.attributes["subject"] == 1)
    folder = tmp_path_factory.mktemp("data") / "store"
    return write_store(folder, _sequences(), source="test", classes=("nod", "wave", "kick"), splits={"xsub": split})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    save_encoder(_encoder(KINECT_V1_20), folder / "encoder", {"method": "MAMP"})
    return folder


def _embed(run: Path, store: Store, out: Path, *more: str) -> int:
    return main(
        [
            "embed",
            str(run),
            "--store",
            str(store.path),
            "--out",
            str(out),
            "--device",
            "cpu",
            "--precision",
            "fp32",
            *more,
        ]
    )


def test_parquet_holds_what_is_known_of_every_clip_and_its_features(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "features.parquet"
    assert _embed(run, store, out) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{out}: 12 clips, {DIM} numbers each"
    table = pq.read_table(out)
    assert table.column_names == [
        *("id", "row", "label", "class", "split.xsub", "attribute.place", "attribute.subject", "feature")
    ]
    assert table["id"].to_pylist() == [f"clip{number:02d}" for number in range(12)]
    assert table["label"].to_pylist()[:5] == [None, 0, 1, 2, None]
    assert table["class"].to_pylist()[:5] == [None, "nod", "wave", "kick", None]
    assert table["split.xsub"].to_pylist()[:4] == ["train", "test", None, "train"]
    assert table["attribute.place"].to_pylist()[:2] == [None, "Küche"]
    assert str(table.schema.field("feature").type) == f"fixed_size_list<element: float>[{DIM}]"
    expected = _encoder(KINECT_V1_20).embed(_sequences())
    np.testing.assert_allclose(np.stack(table["feature"].to_pylist()), expected, rtol=1e-4, atol=1e-5)


def test_the_metadata_says_what_made_the_file(run: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    _embed(run, store, out)
    facts = json.loads(pq.read_schema(out).metadata[b"marrow"])
    assert facts["store_fingerprint"] == store.fingerprint
    assert (facts["dim"], facts["pooling"]) == (DIM, "mean")
    first = facts["encoder_fingerprint"]
    assert len(first) == 16
    save_encoder(_encoder(KINECT_V1_20).fresh(8), tmp_path / "other", {})
    _embed(tmp_path / "other", store, tmp_path / "other.parquet")
    other = json.loads(pq.read_schema(tmp_path / "other.parquet").metadata[b"marrow"])
    assert other["encoder_fingerprint"] != first


def test_both_formats_hold_the_same_rows(run: Path, store: Store, tmp_path: Path) -> None:
    _embed(run, store, tmp_path / "features.parquet")
    _embed(run, store, tmp_path / "features.npy")
    matrix = np.load(tmp_path / "features.npy")
    assert (matrix.dtype, matrix.shape) == (np.float32, (12, DIM))
    np.testing.assert_array_equal(np.stack(pq.read_table(tmp_path / "features.parquet")["feature"].to_pylist()), matrix)
    beside = json.loads((tmp_path / "features.json").read_text(encoding="utf-8"))
    assert beside["clips"]["id"][3] == "clip03"
    assert beside["clips"]["row"] == list(range(12))
    assert beside["clips"]["attribute.place"][1] == "Küche"
    assert (beside["dim"], beside["store_fingerprint"]) == (DIM, store.fingerprint)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("xsub/train", [0, 3, 6, 9]),
        ("xsub/test", [1, 4, 7, 10]),
        ("subject=2 & label=1", [2]),
        ("leave-one-out:subject=2/test", [2, 5, 8, 11]),
    ],
)
def test_rows_are_chosen_by_words(run: Path, store: Store, tmp_path: Path, rows: str, expected: list[int]) -> None:
    assert _embed(run, store, tmp_path / "part.npy", "--rows", rows) == 0
    assert json.loads((tmp_path / "part.json").read_text(encoding="utf-8"))["clips"]["row"] == expected


def test_joints_are_kept_side_by_side(run: Path, store: Store, tmp_path: Path) -> None:
    _embed(run, store, tmp_path / "mean.npy")
    _embed(run, store, tmp_path / "joints.npy", "--pooling", "joints")
    joints = np.load(tmp_path / "joints.npy")
    assert joints.shape == (12, 20 * DIM)
    # All joints are present at all times: the mean over joints is the mean over everything.
    np.testing.assert_allclose(
        joints.reshape(12, 20, DIM).mean(1), np.load(tmp_path / "mean.npy"), rtol=1e-3, atol=1e-5
    )


def test_blocks_make_no_difference(run: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _embed(run, store, tmp_path / "whole.parquet")
    monkeypatch.setattr(embedding, "_BLOCK_CLIPS", 5)
    _embed(run, store, tmp_path / "pieces.parquet")
    whole, pieces = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "pieces"))
    assert pieces.drop_columns("feature").equals(whole.drop_columns("feature"))
    features = [np.stack(table["feature"].to_pylist()) for table in (whole, pieces)]
    np.testing.assert_allclose(features[0], features[1], rtol=1e-4, atol=1e-5)


def test_a_store_without_classes_splits_or_attributes(run: Path, tmp_path: Path) -> None:
    bare = [
        SkeletonSequence(each.joints, each.present, 30.0, KINECT_V1_20, Record(each.record.id)) for each in _sequences()
    ]
    store = write_store(tmp_path / "bare", bare, source="test")
    assert _embed(run, store, tmp_path / "bare.parquet") == 0
    table = pq.read_table(tmp_path / "bare.parquet")
    assert table.column_names == ["id", "row", "label", "class", "feature"]
    assert table["label"].null_count == table["class"].null_count == 12


def test_a_file_that_is_there_stays_unless_told_otherwise(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, blocking in (("f.parquet", "f.parquet"), ("g.npy", "g.json")):
        (tmp_path / blocking).write_text("mine")
        assert _embed(run, store, tmp_path / name) == 2
        message = capsys.readouterr().err
        assert f"{tmp_path / blocking} is already there" in message
        assert "--overwrite" in message
        assert (tmp_path / blocking).read_text() == "mine"
        assert _embed(run, store, tmp_path / name, "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.parquet", "g.json", "g.npy"]


def test_what_cannot_be_done_is_said_at_once(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["embed", str(run), *arguments]) in (1, 2)
        message = capsys.readouterr().err
        assert message.startswith("marrow: error: ")
        assert "Traceback" not in message
        return message

    there = ("--store", str(store.path))
    assert "must end in .parquet or .npy, got 'f.csv'" in refused(*there, "--out", str(tmp_path / "f.csv"))
    assert "give either PATH" in refused("--out", "f.npy")
    assert "give either PATH" in refused(*there, "--reader", "ntu", "--root", ".", "--out", "f.npy")
    assert "go together" in refused(*there, "--root", ".", "--out", "f.npy")
    out = ("--out", str(tmp_path / "f.npy"))
    assert "no clip of this store has subject=9" in refused(*there, *out, "--rows", "subject=9")
    assert "no split 'xsubb'" in refused(*there, *out, "--rows", "xsubb/test")
    assert "expected" in refused(*there, *out, "--pooling", "max")
    (tmp_path / "folder.npy").mkdir()
    assert "is a folder" in refused(*there, "--out", str(tmp_path / "folder.npy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.npy"]


def test_another_skeleton_is_refused(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(_encoder(KINECT_V2_25), tmp_path / "encoder", {})
    assert _embed(tmp_path, store, tmp_path / "f.npy") == 2
    message = capsys.readouterr().err
    assert "'kinect_v2_25' (25 joints)" in message
    assert "'kinect_v1_20' (20 joints)" in message


def test_no_encoder_is_said_so(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _embed(tmp_path, store, tmp_path / "f.npy") == 1
    assert "holds no encoder" in capsys.readouterr().err


class _Walks:
    """A reader of the clips of these tests."""

    name = "walks"
    skeleton = KINECT_V1_20
    classes = ("nod", "wave", "kick")
    splits: ClassVar[dict[str, Split]] = {}

    def records(self, root: Path) -> Iterator[Record]:
        yield from (sequence.record for sequence in _sequences())

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        return next(sequence for sequence in _sequences() if sequence.record.id == record.id)


def test_files_and_folders_of_any_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = PatchTransformerConfig(width=DIM, depth=1, heads=2, patch_frames=4)
    by_place = PatchTransformer(config, InputConfig(window_frames=8, test_crop=1.0), BODY).fresh(7)
    save_encoder(by_place, tmp_path / "encoder", {})
    generator = np.random.default_rng(0)
    names = ("pelvis", "neck", "left_hip", "right_hip", "left_knee", "right_knee")
    for folder, name in (("walk", "a"), ("run", "b")):
        rows = [",".join(["frame", *(f"{joint}_{axis}" for joint in names for axis in "xyz")])]
        rows += [",".join([str(frame), *(f"{value:.3f}" for value in generator.normal(size=18))]) for frame in range(9)]
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "features.parquet"
    options = ("--fps", "30", "--unit_metres", "1", "--up", "y", "--device", "cpu")
    assert main(["embed", str(tmp_path / "encoder"), str(tmp_path / "in"), "--out", str(out), *options]) == 0
    table = pq.read_table(out)
    assert table["id"].to_pylist() == ["run/b", "walk/a"]
    assert table["class"].to_pylist() == ["run", "walk"]
    file = str(tmp_path / "in" / "walk" / "a.csv")
    assert main(["embed", str(tmp_path / "encoder"), file, "--out", str(tmp_path / "one.npy"), *options]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "one.npy")[0], table["feature"].to_pylist()[1], rtol=1e-4, atol=1e-5)
    assert main(["embed", str(tmp_path / "encoder"), file, "--store", "s", "--out", str(tmp_path / "two.npy")]) == 2
    assert "give either PATH" in capsys.readouterr().err


def test_a_store_may_stand_where_files_do(run: Path, store: Store, tmp_path: Path) -> None:
    _embed(run, store, tmp_path / "named.npy")
    words = ["embed", str(run), str(store.path), "--out", str(tmp_path / "plain.npy"), "--device", "cpu"]
    assert main([*words, "--precision", "fp32"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "named.npy"), np.load(tmp_path / "plain.npy"))


def test_raw_recordings_go_through_a_store_that_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marrow.store.convert.get_reader", lambda name: {"walks": _Walks()}[name])
    out = tmp_path / "raw.parquet"
    words = ["--reader", "walks", "--root", str(tmp_path), "--rows", "subject=0", "--out", str(out), "--device", "cpu"]
    assert main(["embed", str(run), *words]) == 0
    assert pq.read_table(out)["id"].to_pylist() == ["clip00", "clip03", "clip06", "clip09"]
    assert [path.name for path in tmp_path.iterdir()] == ["raw.parquet"]
