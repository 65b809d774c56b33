"""Does a model say that it does not know, and are its probabilities true? One class after the other is left out.

The classes of a store are learned but for one, from some people; the recordings of the others, of all classes, are then
asked about. Printed for each class that was left out, and as means: how well the distance tells it from the known ones
(AUROC, 50 is chance), how many known ones are called unknown at the threshold that was chosen on the training clips
(5 % of those that were held out), how many of the class that was left out are, how many known ones are named rightly,
and the expected calibration error of the known ones without and with the temperature.

    python benchmarks/unknown_class.py stores/ui_prmd runs/encoder
    python benchmarks/unknown_class.py stores/nw_ucla runs/encoder --finetuned --epochs 5 --classes 2

Without --finetuned, logistic regression on frozen features (`marrow predict --examples`); with it, a recogniser.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from marrow.data.subsets import protocol_rows
from marrow.models.encoder import Encoder, Features
from marrow.models.export import load_encoder
from marrow.models.heads import Recogniser
from marrow.store.format import Store
from marrow.tasks.base import TaskContext
from marrow.tasks.encoders import store_for
from marrow.tasks.features import extract
from marrow.tasks.recognition.finetune import finetune
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.optim import ScheduleConfig
from marrow.use.calibration import expected_calibration_error_percent, probabilities
from marrow.use.examples import labeller_from_features
from marrow.use.held_out import learn_what_is_known
from marrow.use.known import Known
from marrow.use.labeller import Labeller

COLUMNS = ("AUROC", "known called unknown", "left out called unknown", "known named rightly", "ECE", "ECE, calibrated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--people", type=int, default=4, help="one person in so many is asked about")
    parser.add_argument("--classes", type=int, default=None, help="leave out the first so many classes alone, in turn")
    parser.add_argument("--finetuned", action="store_true", help="fine-tune instead of logistic regression")
    parser.add_argument("--epochs", type=int, default=5, help="of the fine-tuning")
    given = parser.parse_args()
    torch.set_num_threads(1)

    store = Store.open(given.store)
    encoder = load_encoder(given.encoder)
    read = store_for(encoder, store, given.encoder)
    people = np.unique(store.attribute("subject")).tolist()
    asked = people[:: given.people]
    print(f"{store}; asked about people {', '.join(map(str, asked))}")
    pooled = None if given.finetuned else extract(encoder, read, np.arange(len(store)), device="cpu").pooled.numpy()

    rows = []
    for left_out in range(len(store.classes))[: given.classes]:
        names = ",".join(map(str, asked))
        protocol = f"label!={left_out} & subject!={names} -> subject={names}"
        train, test = protocol_rows(store, protocol)
        if pooled is not None:
            scores, features, labeller = frozen(encoder, store, pooled, train, test)
        else:
            scores, features, labeller = tuned(given.encoder, store, read, protocol, test, given.epochs)
        rows.append(figures(labeller, scores, features, store.label[test], left_out, store.classes))
        print(f"{store.classes[left_out]:<45}" + "".join(f"{value:8.1f}" for value in rows[-1]), flush=True)
    print(f"{'mean':<45}" + "".join(f"{value:8.1f}" for value in np.mean(rows, axis=0)))
    print("columns, in percent: " + "; ".join(COLUMNS))


def frozen(encoder: Encoder, store: Store, pooled: np.ndarray, train: np.ndarray, test: np.ndarray):
    present, place = np.unique(store.label[train], return_inverse=True)
    classes = tuple(store.classes[number] for number in present)
    people = store.attribute("subject")[train].astype(str)
    labeller = labeller_from_features(encoder, pooled[train], place, classes, 0.0, people)
    tokens = torch.from_numpy(pooled[test])[:, None, None, None]
    scores = labeller.score(Features(tokens, torch.ones(tokens.shape[:4], dtype=torch.bool)))
    return scores.numpy(), pooled[test], labeller


def tuned(encoder: str, store: Store, read: Store, protocol: str, test: np.ndarray, epochs: int):
    config = FinetuneConfig(epochs=epochs, schedule=ScheduleConfig(warmup_epochs=1), predict_every=epochs)
    context = TaskContext(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tuned"
        finetune(encoder, store, protocol, out, config, context=context)
        learn_what_is_known(out, encoder, store, protocol, config, context=context)
        labeller = Labeller.of(Recogniser.load(out), Known.load(out))
    parts = [
        labeller.outputs([read.sequence(int(row)) for row in test[at : at + 64]]) for at in range(0, len(test), 64)
    ]
    scores, features = (np.concatenate(values) for values in zip(*parts, strict=True))
    return scores, features, labeller


def figures(labeller: Labeller, scores, features, label: np.ndarray, left_out: int, classes) -> list[float]:
    judged = labeller.judged(scores, features)
    distance = np.array([each.distance for each in judged])
    unknown = np.array([each.is_unknown for each in judged])
    is_new = label == left_out
    place = {name: at for at, name in enumerate(labeller.classes)}
    truth = np.array([place.get(classes[number], -1) for number in label])[~is_new]
    before, after = (probabilities(scores[~is_new], value) for value in (1.0, labeller.known.temperature))
    return [
        100 * roc_auc_score(is_new, distance),
        100 * unknown[~is_new].mean(),
        100 * unknown[is_new].mean(),
        100 * (after.argmax(1) == truth).mean(),
        expected_calibration_error_percent(before, truth),
        expected_calibration_error_percent(after, truth),
    ]


if __name__ == "__main__":
    main()
