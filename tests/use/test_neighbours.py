from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from marrow.cli.main import main
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.report.neighbours import write_neighbours
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.use.motion_index import Hit, Index, IndexFacts
from marrow.use.neighbours import ask, build_index, class_of, find_neighbours, motions_of

LAYOUT = get_skeleton("kinect_v2_25")


def an_encoder(seed: int = 0) -> PatchTransformer:
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=16), LAYOUT).fresh(seed).eval()
    assert isinstance(encoder, PatchTransformer)
    return encoder


def a_walk(name: str, frames: int, label: int = -1, seed: int = 0, **known: object) -> SkeletonSequence:
    rng = np.random.default_rng(seed)
    joints = np.cumsum(rng.normal(0, 0.05, (1, frames, 25, 3)), axis=1).astype(np.float32)
    return SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 30.0, LAYOUT, Record(name, label=label), **known)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six clips, of which the last is a copy of the first."""
    walks = [a_walk(f"clip{number}", 40 + number, number % 2, seed=number) for number in range(5)]
    walks.append(replace(walks[0], record=Record("again", label=0)))
    return write_store(tmp_path_factory.mktemp("clips") / "store", walks, source="walks", classes=("left", "right"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two recordings of six seconds; second 3 of the second one is second 1 of the first one."""
    first = a_walk("first", 180, seed=1, segments=(Segment(30, 60, 0),))
    second = a_walk("second", 180, seed=2, segments=(Segment(90, 120, 0), Segment(0, 20, 1)))
    joints = second.joints.copy()
    joints[:, 90:120] = first.joints[:, 30:60]
    folder = tmp_path_factory.mktemp("recordings") / "store"
    return write_store(folder, [first, replace(second, joints=joints)], source="walks", classes=("kick", "bow"))


def test_whole_clips_are_compared_and_the_query_is_left_out_with_its_copies(clips: Store) -> None:
    answer = find_neighbours(an_encoder(), clips, "clip0", count=9)
    assert sorted(hit.row for hit in answer.hits) == [1, 2, 3, 4]
    distances = [hit.distance for hit in answer.hits]
    assert distances == sorted(distances)
    assert "clip0" in answer.notes[0]
    assert "again" in answer.notes[0]
    assert answer.hits[0].end_seconds == pytest.approx((40 + answer.hits[0].row) / 30)


def test_a_recording_from_elsewhere_is_known_by_its_content(clips: Store) -> None:
    same, other = clips.sequence(2), a_walk("other", 44, seed=9)
    changed = same.joints.copy()
    changed[0, 3, 7, 1] += 1e-3
    assert ask(clips, same).rows == (2,)
    assert ask(clips, replace(same, joints=changed)).rows == ()
    assert find_neighbours(an_encoder(), clips, replace(same, joints=changed)).hits[0].row == 2
    assert find_neighbours(an_encoder(), clips, other).notes == []
    # Stores keep zeros where nothing is present, and no body that is never there.
    ghost = np.full((2, *same.joints.shape[1:]), 7, np.float32)
    ghost[0] = same.joints[0]
    there = np.stack([same.present[0], np.zeros_like(same.present[0])])
    assert ask(clips, replace(same, joints=ghost, present=there)).rows == (2,)


def test_a_movement_is_found_inside_a_recording(recordings: Store) -> None:
    ask_for = {"within": True, "part": (1.0, 2.0), "stride": 0.2}
    answer = find_neighbours(an_encoder(), recordings, "first", count=4, **ask_for)
    best = answer.hits[0]
    assert (best.row, best.start_seconds, best.end_seconds) == (1, 3.0, 4.0)
    assert best.distance == pytest.approx(0.0, abs=1e-4)
    assert class_of(recordings, best) == "kick"
    # Nothing overlaps the query, and no two overlap each other.
    for place, hit in enumerate(answer.hits):
        assert hit.row == 1 or hit.end_seconds <= 1.0 or hit.start_seconds >= 2.0
        for other in answer.hits[:place]:
            assert (
                hit.row != other.row or hit.end_seconds <= other.start_seconds or other.end_seconds <= hit.start_seconds
            )


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (100, [(0, 4), (3, 7), (6, 10)]),
        (95, [(0, 4), (3, 7), (5.5, 9.5)]),  # the last window ends with the recording
        (20, [(0, 2)]),  # shorter than a window
    ],
)
def test_windows_cover_a_recording(tmp_path: Path, frames: int, expected: list[tuple[float, float]]) -> None:
    store = write_store(tmp_path / "s", [replace(a_walk("a", frames), fps=10.0)], source="walks")
    places = [(start, end) for (_, start, end), _ in motions_of(store, IndexFacts("", "", 4.0, 3.0))]
    assert places == expected


def test_windows_in_which_nobody_is_are_left_out(tmp_path: Path) -> None:
    walk = a_walk("a", 90)
    present = walk.present.copy()
    present[:, 30:60] = False
    store = write_store(tmp_path / "s", [replace(walk, present=present)], source="walks")
    assert [place[1] for place, _ in motions_of(store, IndexFacts("", "", 1.0, 1.0))] == [0.0, 2.0]


def test_windows_are_compared_without_mirror_images_and_whole_clips_with_them(
    clips: Store, recordings: Store, tmp_path: Path
) -> None:
    plain = an_encoder()
    config = replace(plain.config, summary_blocks=(1,), summary_mirrored=True)
    encoder = PatchTransformer(config, plain.input, LAYOUT).eval()
    for store, query, within, numbers in ((clips, "clip0", False, 192), (recordings, "first", True, 48)):
        file = tmp_path / f"{within}.safetensors"
        first = find_neighbours(encoder, store, query, within=within, index=file)
        assert Index.open(file).features.shape[1] == numbers
        assert find_neighbours(encoder, store, query, within=within, index=file).hits == first.hits


def test_an_index_is_used_again_and_one_of_something_else_is_refused(
    clips: Store, recordings: Store, tmp_path: Path
) -> None:
    file = tmp_path / "index.safetensors"
    first = find_neighbours(an_encoder(), recordings, "first", within=True, seconds=1.0, index=file)
    written = file.stat().st_mtime_ns
    again = find_neighbours(an_encoder(), recordings, "first", within=True, index=file)
    assert again.hits == first.hits
    assert file.stat().st_mtime_ns == written
    with pytest.raises(CheckpointError, match="another encoder"):
        find_neighbours(an_encoder(1), recordings, "first", within=True, index=file)
    other = an_encoder()  # the same weights, used in another way
    other.input = replace(other.input, test_crop=0.5)
    with pytest.raises(CheckpointError, match="another encoder"):
        find_neighbours(other, recordings, "first", within=True, index=file)
    with pytest.raises(CheckpointError, match="other data"):
        find_neighbours(an_encoder(), clips, "clip0", within=True, index=file)
    with pytest.raises(CheckpointError, match="whole clips"):
        find_neighbours(an_encoder(), recordings, "first", index=file)
    with pytest.raises(CheckpointError, match="not 2"):
        find_neighbours(an_encoder(), recordings, "first", within=True, seconds=2.0, index=file)


def test_a_query_of_another_length_than_the_windows_is_noted(recordings: Store) -> None:
    asked = {"within": True, "seconds": 1.0}
    assert len(find_neighbours(an_encoder(), recordings, "first", part=(0.0, 1.9), **asked).notes) == 1
    assert len(find_neighbours(an_encoder(), recordings, "first", part=(0.0, 2.1), **asked).notes) == 2


def test_what_cannot_be_asked(clips: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clip1"):
        find_neighbours(an_encoder(), clips, "clip11")
    with pytest.raises(ConfigError, match="two frames"):
        find_neighbours(an_encoder(), clips, "clip0", part=(1.0, 1.01))
    with pytest.raises(ConfigError, match="at least 1"):
        find_neighbours(an_encoder(), clips, "clip0", count=0)
    with pytest.raises(ConfigError, match="within"):
        find_neighbours(an_encoder(), clips, "clip0", seconds=1.0)
    with pytest.raises(ConfigError, match="above 0"):
        build_index(an_encoder(), clips, IndexFacts("", "", -1.0, 1.0))
    other = get_skeleton("kinect_v1_20")
    walk = SkeletonSequence(np.zeros((1, 9, 20, 3), np.float32), np.ones((1, 9, 20), bool), 30.0, other, Record("v1"))
    with pytest.raises(DataError, match="v1"):
        find_neighbours(an_encoder(), clips, walk)
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(DataError):
        find_neighbours(an_encoder(), clips, str(tmp_path / "empty.npy"))


def test_a_motion_has_the_class_that_takes_half_of_it(recordings: Store) -> None:
    # Segments of the second recording: "bow" from 0 to 2/3 s, "kick" from 3 to 4 s.
    assert class_of(recordings, Hit(1, 0.0, 1.0, 0.0)) == "bow"
    assert class_of(recordings, Hit(1, 0.0, 2.0, 0.0)) == ""
    assert class_of(recordings, Hit(1, 2.5, 3.5, 0.0)) == "kick"


def test_the_page_plays_query_and_neighbours_and_loads_no_charts(clips: Store, tmp_path: Path) -> None:
    answer = find_neighbours(an_encoder(), clips, "clip0", count=3)
    page = write_neighbours(answer, clips, an_encoder(), tmp_path / "near.html").read_text(encoding="utf-8")
    assert page.count("<canvas") == 4
    assert all(f"data-clip='{number}'" in page for number in range(4))
    assert f"distance {answer.hits[0].distance:.3f}" in page
    assert "id='plotly'" not in page


def test_the_command_prints_what_is_found(clips: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(an_encoder(), tmp_path / "encoder")
    page = tmp_path / "near.html"
    asked = ["neighbours", str(tmp_path / "encoder"), str(clips.path), "--query", "clip3", "--count", "2"]
    assert main([*asked, "--page", str(page)]) == 0
    expected = find_neighbours(an_encoder(), clips, "clip3", count=2).hits
    rows = capsys.readouterr().out.splitlines()
    shown = [row.split()[-1] for row in rows if row.strip()[:1] in ("1", "2")]
    assert shown == [clips.ids[hit.row] for hit in expected]
    assert page.is_file()
    assert main([*asked, "--seconds", "2"]) == 2
    assert "--within" in capsys.readouterr().err
