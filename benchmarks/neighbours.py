"""Finding a movement inside long recordings: how well, beside raw coordinates, and how fast among a million windows.

    python benchmarks/neighbours.py [--quick]
    python benchmarks/neighbours.py --store stores/utkinect --encoder runs/mine [--encoder runs/other ...]

Speed: a query among a million windows of 384 random numbers, exact, from an index on disk that is mapped. The last line
is one JSON object: `seconds` is the median of a query.

Quality (`--store`, untrimmed recordings with labelled segments and subjects): every segment is a query; what is found
in the recordings of other subjects is right where it overlaps a segment of the same class by as much as is asked
(intersection over union), each segment counted once. Mean average precision over queries, in percent. Windows are 1, 2
or 4 seconds long, whichever is nearest to the query, and begin a quarter of that apart. All methods see the same ones:

    encoder        the vectors of `marrow neighbours`
    random         the same encoder at random initialisation
    raw            aligned positions, 16 frames, Euclidean distance
    raw, DTW       the same, by dynamic time warping within 4 frames (Sakoe and Chiba)
"""

import argparse
import json
import resource
import tempfile
import time
import tracemalloc
from pathlib import Path

import numba
import numpy as np

import marrow
from marrow.data.sampling import batch_from_sequences
from marrow.data.window import InputConfig
from marrow.models.encoder import Encoder
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.tasks.encoders import store_for
from marrow.use.motion_index import Hit, Index, IndexFacts
from marrow.use.neighbours import build_index, features_of, motions_of, part_of

_LENGTHS = (1.0, 2.0, 4.0)
_OVERLAPS = (0.1, 0.3, 0.5)
_RAW = InputConfig(window_frames=16, alignment="body", test_crop=1.0)
_BAND = 4
_MOST_HITS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the windows")
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--encoder", type=str, action="append", default=[])
    parser.add_argument("--without_warping", action="store_true", help="leave out dynamic time warping: minutes")
    arguments = parser.parse_args()
    if arguments.store is None:
        speed(arguments.windows // (10 if arguments.quick else 1), arguments.dim)
        return
    store = Store.open(arguments.store)
    queries = [(row, segment) for row in range(len(store)) for segment in store.segments(row)]
    print(f"{len(queries)} queries in {len(store)} recordings; mean average precision at overlap {_OVERLAPS}")
    for name in arguments.encoder:
        encoder = marrow.load_encoder(name)
        for source, judged in ((name, encoder), (f"{name}, random", encoder.fresh(0))):
            began = time.process_time()
            show(source, precision_of(store, queries, by_encoder(judged, store, queries)), began)
    for warped in (False,) if arguments.without_warping else (False, True):
        began = time.process_time()
        show(
            "raw, DTW" if warped else "raw", precision_of(store, queries, by_coordinates(store, queries, warped)), began
        )


def speed(windows: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((windows, dim), np.float32)
    start = np.arange(windows) * 0.5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.safetensors"
        facts = IndexFacts("encoder", "store", 2.0, 0.5)
        Index.of(features, np.zeros(windows, np.int64), start, start + 2.0, facts).save(path)
        queries = features[:6] + 0.1 * rng.standard_normal((6, dim), np.float32)
        del features
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        opened = time.perf_counter()
        index = Index.open(path)
        times = [time.perf_counter() - opened]
        for query in queries:
            began = time.perf_counter()
            [first, *_] = index.nearest(query, 10)
            times.append(time.perf_counter() - began)
            print(f"  {times[-1]:.3f} s, nearest at {first.distance:.3f}")
        tracemalloc.start()
        index.nearest(queries[0], 10)
        allocated = tracemalloc.get_traced_memory()[1] / 1e6
        size = path.stat().st_size / 1e6
    print(f"{windows:,} windows of {dim} numbers: {size:.0f} MB on disk, mapped in {times[0]:.4f} s")
    print(f"a query allocates {allocated:.0f} MB beside it; making the index took {before / 1e3:.0f} MB at most")
    result = {"seconds": float(np.median(times[1:])), "windows": windows, "dim": dim}
    print(json.dumps(result | {"index_megabytes": size, "query_megabytes": allocated}))


def by_encoder(encoder: Encoder, store: Store, queries: list) -> list[list[Hit]]:
    """Return what is found for each query: by the features of an encoder, without mirror images as the command's."""
    encoder = encoder.one_sided()
    indices = {length: build_index(encoder, store, IndexFacts("", "", length, length / 4)) for length in _LENGTHS}
    brought, hits = store_for(encoder, store, "the encoder"), []
    for row, segment in queries:
        motion = part_of(brought.sequence(row), segment.start_frame, segment.end_frame)
        index = indices[length_of(motion)]
        [features] = features_of(encoder, [motion], within=True)
        hits.append(index.nearest(features, _MOST_HITS, of_same_subject(store, row)[index.row]))
    return hits


def by_coordinates(store: Store, queries: list, warped: bool) -> list[list[Hit]]:
    """Return what is found for each query: by aligned positions."""
    windows = {length: raw_windows(store, length) for length in _LENGTHS}
    hits = []
    for row, segment in queries:
        motion = part_of(store.sequence(row), segment.start_frame, segment.end_frame)
        [query], (positions, index) = raw_of([motion]), windows[length_of(motion)]
        if warped:
            distances = warped_distances(query, positions)
        else:
            distances = np.sqrt(np.square(positions - query).sum((1, 2)))
        distances[of_same_subject(store, row)[index.row]] = np.inf
        hits.append(index.apart(np.argsort(distances, kind="stable"), distances, _MOST_HITS))
    return hits


def raw_windows(store: Store, length: float) -> tuple[np.ndarray, Index]:
    """Return the aligned positions of the windows that an index would have, and where each is."""
    positions, places = [], []
    for place, motion in motions_of(store, IndexFacts("", "", length, length / 4)):
        positions.append(raw_of([motion])[0])
        places.append(place)
    row, start, end = (np.array(values) for values in zip(*places, strict=True))
    empty = np.zeros((len(row), 1), np.float32)
    return np.stack(positions), Index.of(empty, row.astype(np.int64), start, end, IndexFacts("", "", length))


def raw_of(motions: list[SkeletonSequence]) -> np.ndarray:
    """Return aligned positions of the first body, [motion, frame, joint * 3]; zero where absent."""
    return batch_from_sequences(motions, _RAW).joints[:, 0].flatten(2).numpy()


@numba.njit(cache=False)
def warped_distances(query: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the distance of a query [frame, dim] to windows [window, frame, dim] by dynamic time warping."""
    frames = len(query)
    result = np.empty(len(windows), np.float64)
    for number in range(len(windows)):
        cost = np.full((frames + 1, frames + 1), np.inf)
        cost[0, 0] = 0.0
        for i in range(1, frames + 1):
            for j in range(max(1, i - _BAND), min(frames, i + _BAND) + 1):
                squared = 0.0
                for axis in range(query.shape[1]):
                    squared += (query[i - 1, axis] - windows[number, j - 1, axis]) ** 2
                cost[i, j] = squared + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
        result[number] = np.sqrt(cost[frames, frames])
    return result


def length_of(motion: SkeletonSequence) -> float:
    return min(_LENGTHS, key=lambda length: abs(np.log(length * motion.fps / motion.frame_count)))


def of_same_subject(store: Store, row: int) -> np.ndarray:
    subjects = store.subjects()
    assert subjects is not None, "the store does not say who is in its recordings"
    return subjects == subjects[row]


def precision_of(store: Store, queries: list, hits: list[list[Hit]]) -> list[float]:
    """Return the mean average precision in percent at every overlap."""
    return [
        100.0 * float(np.mean([average_precision(store, *query, found, overlap)
                               for query, found in zip(queries, hits, strict=True)]))
        for overlap in _OVERLAPS
    ]  # fmt: skip


def average_precision(store: Store, row: int, segment: marrow.Segment, hits: list[Hit], overlap: float) -> float:
    """Return the precision at every segment that is found, summed over those there are."""
    others = np.flatnonzero(~of_same_subject(store, row)).tolist()
    wanted = {
        (other, place): (same.start_frame / float(store.fps[other]), same.end_frame / float(store.fps[other]))
        for other in others
        for place, same in enumerate(store.segments(other))
        if same.label == segment.label
    }
    count, found, total = len(wanted), 0, 0.0
    for rank, hit in enumerate(hits, start=1):
        shares = {key: shared(hit, *times) for key, times in wanted.items() if key[0] == hit.row}
        best = max(shares, key=lambda key: shares[key], default=None)
        if best is not None and shares[best] >= overlap:
            del wanted[best]
            found += 1
            total += found / rank
    return total / count


def shared(hit: Hit, start: float, end: float) -> float:
    both = min(hit.end_seconds, end) - max(hit.start_seconds, start)
    return max(0.0, both) / (max(hit.end_seconds, end) - min(hit.start_seconds, start))


def show(name: str, precision: list[float], began: float) -> None:
    print(f"{name:40} {'  '.join(f'{value:5.1f}' for value in precision)}   {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
