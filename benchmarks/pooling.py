"""Which tokens should stand for a recording? Logistic regression and nearest neighbours of each choice.

    python benchmarks/pooling.py RUN STORE PROTOCOL

Choices are the average of the last tokens, and the average, highest and lowest value of every number after one block,
after two, and after all of them (`encoder.summary_blocks`); of the encoder, and of the same one untrained. Each is
scored alone, and with what is of it and of the mirror image (`encoder.summary_mirrored`): the average, the highest
and the lowest of both. Logistic regression is on standardised features, neighbours are by cosine. At the end come raw
coordinates, alone and with their mirror image in the same way: ridge regression, and neighbours by distance.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.models.patch_transformer import PatchTransformer, of_both_sides
from marrow.skeleton.geometry import mirrored, raw_baseline_features
from marrow.store.format import Store
from marrow.tasks.encoders import store_for
from marrow.tasks.features import extract
from marrow.tasks.recognition.baselines import RIDGE_PENALTY, raw_sequence


def reading(encoder: Encoder, blocks: tuple[int, ...]) -> Encoder:
    """Return the same encoder with other blocks that stand for a recording, and their mirror image beside it."""
    assert isinstance(encoder, PatchTransformer)
    config = replace(encoder.config, summary_blocks=blocks, summary_mirrored=bool(blocks))
    other = PatchTransformer(config, encoder.input, encoder.skeleton)
    other.load_state_dict(encoder.state_dict())
    return other.eval()


def parts(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return ways to read a summary with its mirror image: four quarters, of which the first is the summary alone."""
    alone, average, highest, lowest = np.split(features, 4, axis=1)
    return {
        "alone": alone,
        "average of both": average,
        "extremes of both": np.concatenate([highest, lowest], 1),
        "alone, average": np.concatenate([alone, average], 1),
        "all of it": features,
    }


def scores(features: np.ndarray, label: np.ndarray, folds: list, *, raw: bool = False) -> tuple[float, float]:
    by_head = by_neighbour = clips = 0
    for train, test in folds:
        learner = LogisticRegression(max_iter=5000)
        head = RidgeClassifier(alpha=RIDGE_PENALTY) if raw else make_pipeline(StandardScaler(), learner)
        head.fit(features[train], label[train])
        by_head += int((head.predict(features[test]) == label[test]).sum())
        known, asked = features[train], features[test]
        if raw:
            near = (asked @ known.T - 0.5 * (known**2).sum(1)).argmax(1)
        else:
            near = (normalize(asked) @ normalize(known).T).argmax(1)
        by_neighbour += int((label[train][near] == label[test]).sum())
        clips += len(test)
    return 100.0 * by_head / clips, 100.0 * by_neighbour / clips


def raw_coordinates(store: Store) -> np.ndarray:
    """Return aligned coordinates of every clip, and their mirror image beside them as `of_both_sides` puts it."""
    bodies, rows = min(2, int(store.body_count.max())), []
    for row in range(len(store)):
        clip = raw_sequence(store, row)
        joints, present = mirrored(clip.joints, clip.present, clip.skeleton)
        image = replace(clip, joints=joints, present=present, segments=(), recorded=None)
        alone, other = (torch.from_numpy(raw_baseline_features(one, body_count=bodies)) for one in (clip, image))
        rows.append(of_both_sides(alone[None], other[None])[0].numpy())
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("store", nargs="?")
    parser.add_argument("protocol", nargs="?")
    parser.add_argument("--quick", action="store_true", help="nothing: this needs a store")
    arguments = parser.parse_args()
    if arguments.protocol is None:
        print("pooling: give an encoder of patches, a store and a protocol; nothing was measured")
        return
    encoder, store = load_encoder(arguments.run), Store.open(arguments.store)
    if not isinstance(encoder, PatchTransformer):
        raise SystemExit(f"{arguments.run} holds a {type(encoder).__name__}; this is about a PatchTransformer")
    folds = [protocol_rows(store, fold) for fold in fold_protocols(store, arguments.protocol)]
    label, read = np.asarray(store.label), store_for(encoder, store, "the encoder")
    depth = encoder.config.depth
    singles, pairs = [(n,) for n in range(1, depth + 1)], [(n, depth) for n in range(1, depth)]
    for what, one in (("trained", encoder), ("untrained", encoder.fresh(0).eval())):
        for blocks in [(), *singles, *pairs, tuple(range(1, depth + 1))]:
            name = f"blocks {', '.join(map(str, blocks))}" if blocks else "average of the last tokens"
            features = extract(reading(one, blocks), read, np.arange(len(store)), device="cpu").pooled.numpy()
            for how, part in (parts(features) if blocks else {"alone": features}).items():
                head, neighbour = scores(part, label, folds)
                print(f"{what:10s} {name:28s} {how:16s} logistic {head:.1f}  1-NN {neighbour:.1f}", flush=True)
    for how, part in parts(raw_coordinates(store)).items():
        head, neighbour = scores(part, label, folds, raw=True)
        print(f"{'raw':10s} {'aligned coordinates':28s} {how:16s} ridge {head:.1f}  1-NN {neighbour:.1f}", flush=True)


if __name__ == "__main__":
    main()
