"""Measure how hard the synthetic data set is for raw coordinates.

Claim: nearest neighbour and ridge classification on raw coordinates both score between 35 and 60 % on subjects they
have not seen. Easier, and an encoder would have nothing to show; harder, and a small one could not.

    python benchmarks/synthetic_difficulty.py [--quick]

Two kinds of raw coordinates of both bodies, 32 frames: `reference` is `raw_baseline_features`; `yaw` keeps where the
body goes and is turned about the vertical only. The last line is one JSON object: `ratio` is the accuracy of 1-NN on
the reference coordinates over chance, `low` and `high` its 95 % interval by bootstrap over test clips.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from marrow.readers.synthetic import SPLITS, Synthetic
from marrow.skeleton.geometry import align, filled, raw_baseline_features, resample
from marrow.skeleton.sequence import SkeletonSequence

FRAMES, BODIES, RIDGE_ALPHA = 32, 2, 30.0


def yaw_features(sequence: SkeletonSequence) -> np.ndarray:
    joints = filled(sequence.joints, sequence.present)
    seen = np.repeat(sequence.present.any(axis=1, keepdims=True), sequence.frame_count, axis=1)
    aligned, _ = align(joints, seen, sequence.skeleton, "yaw")
    features = np.zeros((BODIES, FRAMES, joints.shape[2], 3), np.float32)
    features[: len(joints)], _ = resample(aligned, seen, FRAMES)
    return features.reshape(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the reference coordinates only")
    parser.add_argument("--seed", type=int, default=0, help="of the data set")
    arguments = parser.parse_args()

    reader = Synthetic(seed=arguments.seed)
    # No recording is read from a folder; the reader takes one for the sake of the interface.
    records = list(reader.records(Path()))
    sequences = [reader.read(Path(), record) for record in records]
    label = np.array([record.label for record in records])
    train = np.array([SPLITS["xsub"].train(record) for record in records])
    print(f"{train.sum()} training and {(~train).sum()} test clips, {len(reader.classes)} classes, unseen subjects")

    coordinates = {"reference": lambda sequence: raw_baseline_features(sequence, FRAMES, BODIES)}
    if not arguments.quick:
        coordinates["yaw"] = yaw_features
    correct: dict[tuple[str, str], np.ndarray] = {}
    for name, features_of in coordinates.items():
        features = np.stack([features_of(sequence) for sequence in sequences])
        for method, model in (
            ("1-NN", KNeighborsClassifier(1, algorithm="brute")),
            ("ridge", RidgeClassifier(alpha=RIDGE_ALPHA)),
        ):
            predicted = np.asarray(model.fit(features[train], label[train]).predict(features[~train]))
            hits = predicted == label[~train]
            correct[name, method] = hits
            print(f"{name:10s} {method:6s} {100 * hits.mean():.1f} %")

    chance = 1 / len(reader.classes)
    hits = correct["reference", "1-NN"]
    rng = np.random.default_rng(0)
    draws = hits[rng.integers(0, len(hits), (1000, len(hits)))].mean(1) / chance
    low, high = np.quantile(draws, [0.025, 0.975])
    percent = {f"{name} {method}": round(100 * float(h.mean()), 1) for (name, method), h in correct.items()}
    print(
        json.dumps(
            {
                "claim": "raw-coordinate 1-NN and ridge between 35 and 60 % across unseen subjects",
                "ratio": round(float(hits.mean() / chance), 2),
                "low": round(float(low), 2),
                "high": round(float(high), 2),
                "setting": {"quick": arguments.quick, "seed": arguments.seed, "percent": percent},
            }
        )
    )


if __name__ == "__main__":
    main()
