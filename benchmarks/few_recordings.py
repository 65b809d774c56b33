"""Classes from a few recordings, with `marrow.sklearn`: one of each class by two people, scored on all other people.

    python benchmarks/few_recordings.py --store stores/utkinect_clips --encoder runs/mine [--encoder runs/other ...]

Every pair of people is tried once: their first recording of each class is learned from (twenty, where there are ten
classes). Top-1 in percent, mean and standard deviation over pairs, of each encoder, of the same at random
initialisation, and of logistic regression on aligned positions (16 frames of the first body). Without arguments: ten
synthetic people and an encoder at random initialisation, to see that it runs.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import marrow
from marrow.data.sampling import batch_from_sequences
from marrow.sklearn import MotionEncoder
from marrow.store.format import Store

_RAW = marrow.InputConfig(window_frames=16, alignment="body")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="five synthetic people")
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--encoder", type=str, action="append", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store is None:
            reader = marrow.get_reader("synthetic", subjects=5 if arguments.quick else 10)
            store = marrow.prepare(reader, ".", Path(folder) / "store")
        else:
            store = Store.open(arguments.store)
        compare(store, arguments.encoder)


def compare(store: Store, names: list[str]) -> None:
    recordings = [store.sequence(row) for row in range(len(store))]
    encoders = {name: marrow.load_encoder(name) for name in names}
    if not encoders:
        size = marrow.PatchTransformerConfig(width=64, depth=2, heads=4)
        encoders = {"small": marrow.PatchTransformer(size, _RAW, store.skeleton).fresh(0)}
    for name, encoder in encoders.items():
        if names:
            show(name, scores(store, MotionEncoder(encoder).transform(recordings)))
        show(f"{name}, random", scores(store, MotionEncoder(encoder.fresh(0)).transform(recordings)))
    batch = batch_from_sequences(recordings, _RAW)
    show("aligned positions", scores(store, batch.joints[:, 0].flatten(1).numpy()))


def scores(store: Store, features: np.ndarray) -> list[float]:
    """Return the top-1 of every pair of people."""
    people, result = store.subjects(), []
    assert people is not None, "the store does not say who is in its recordings"
    for pair in itertools.combinations(np.unique(people), 2):
        known = np.isin(people, pair)
        rows = [
            np.flatnonzero((people == person) & (store.label == label))[:1]
            for person in pair
            for label in range(len(store.classes))
        ]
        learned = np.concatenate(rows)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(features[learned], store.label[learned])
        result.append(100.0 * model.score(features[~known], store.label[~known]))
    return result


def show(name: str, percent: list[float]) -> None:
    print(f"{name:40} {np.mean(percent):5.1f} ± {np.std(percent, ddof=1):.1f} over {len(percent)} pairs")


if __name__ == "__main__":
    main()
