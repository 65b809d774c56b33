"""What of an encoder's tokens should stand for a recording? Logistic regression and nearest neighbours of each way.

    python benchmarks/pooling.py RUN STORE PROTOCOL

Ways are averages, deviations, parts of the body, and the highest and lowest value of every number; of the encoder, and
of the same one untrained. Logistic regression is on standardised features, neighbours are by cosine.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from marrow.data.sampling import evaluation_batches
from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.skeleton.body import BODY
from marrow.store.format import Store
from marrow.tasks.encoders import store_for

Tokens = tuple[torch.Tensor, torch.Tensor]
ARM = ("shoulder", "collar", "elbow", "wrist", "hand", "hand tip", "thumb")


def tokens_of(encoder: Encoder, store: Store) -> Tokens:
    """Return tokens and flags of the first body of every clip."""
    read, parts = store_for(encoder, store, "the encoder"), []
    with torch.inference_mode():
        for batch in evaluation_batches(read, np.arange(len(store)), encoder.input, 64, "cpu"):
            features = encoder(batch)
            parts.append((features.tokens[:, 0], features.present[:, 0]))
    tokens, present = zip(*parts, strict=True)
    return torch.cat(tokens), torch.cat(present)


def mean(tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    weight = present[..., None].float()
    return (tokens * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)


def deviation(tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return mean((tokens - mean(tokens, present)[:, None, None]) ** 2, present).sqrt()


def highest(tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return torch.where(present[..., None], tokens, -torch.inf).amax((1, 2)).nan_to_num(neginf=0.0)


def lowest(tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return -highest(-tokens, present)


def parts(tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Average trunk, arms and legs apart."""
    part = [
        "trunk" if place.split()[0] not in ("left", "right") else place.split()[0] + str(place.split(" ", 1)[1] in ARM)
        for place in BODY.joints
    ]
    groups = [[joint for joint, name in enumerate(part) if name == one] for one in sorted(set(part))]
    return torch.cat([mean(tokens[:, :, group], present[:, :, group]) for group in groups], 1)


WAYS: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...]] = {
    "average": (mean,),
    "average, deviation": (mean, deviation),
    "averages of five parts": (parts,),
    "highest": (highest,),
    "highest, lowest": (highest, lowest),
    "average, highest, lowest": (mean, highest, lowest),
}


def scores(features: np.ndarray, label: np.ndarray, folds: list) -> tuple[float, float]:
    by_head = by_neighbour = clips = 0
    for train, test in folds:
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(features[train], label[train])
        by_head += int((head.predict(features[test]) == label[test]).sum())
        near = (normalize(features[test]) @ normalize(features[train]).T).argmax(1)
        by_neighbour += int((label[train][near] == label[test]).sum())
        clips += len(test)
    return 100.0 * by_head / clips, 100.0 * by_neighbour / clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?")
    parser.add_argument("store", nargs="?")
    parser.add_argument("protocol", nargs="?")
    parser.add_argument("--quick", action="store_true", help="nothing: this needs a store")
    arguments = parser.parse_args()
    if arguments.protocol is None:
        print("pooling: give an encoder by place, a store and a protocol; nothing was measured")
        return
    encoder, store = load_encoder(arguments.run), Store.open(arguments.store)
    folds = [protocol_rows(store, fold) for fold in fold_protocols(store, arguments.protocol)]
    label = np.asarray(store.label)
    for what, one in (("trained", encoder), ("untrained", encoder.fresh(0).eval())):
        tokens = tokens_of(one, store)
        for name, ways in WAYS.items():
            head, neighbour = scores(torch.cat([way(*tokens) for way in ways], 1).numpy(), label, folds)
            print(f"{what:10s} {name:26s} logistic {head:.1f}  1-NN {neighbour:.1f}", flush=True)


if __name__ == "__main__":
    main()
