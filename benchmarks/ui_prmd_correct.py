"""Is the exercise done correctly? UI-PRMD, leave one subject out, mean over the ten exercises.

    python benchmarks/ui_prmd_correct.py STORE [ENCODER ...] [--examples 10]

The store is made by `marrow import FOLDER --out STORE`. Pooled features of each encoder (a folder, or `general`) are
classified by logistic regression as in `marrow evaluate`, beside its untrained self; raw coordinates by ridge
regression. Chance is 50. With `--examples N`, N recordings of every exercise are labelled instead, a correct and an
incorrect one of each of N / 2 people, and all recordings of the others are asked about: the mean of twenty draws, which
are the same for all rows, and their standard deviation.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from marrow.models.export import load_encoder
from marrow.store.format import Store
from marrow.tasks.encoders import store_for
from marrow.tasks.features import extract
from marrow.tasks.recognition.baselines import RIDGE_PENALTY, RawBaseline


def percent(features: np.ndarray, store: Store, make) -> tuple[float, list[float]]:
    """Return the mean over exercises, and each of them: every repetition predicted by what saw none of its subject."""
    correct, subject = store.attribute("correct").astype(str), store.attribute("subject").astype(str)
    scores = []
    for exercise in range(len(store.classes)):
        here = np.flatnonzero(np.asarray(store.label) == exercise)
        right = 0
        for person in np.unique(subject[here]):
            test = here[subject[here] == person]
            train = here[subject[here] != person]
            right += int((make().fit(features[train], correct[train]).predict(features[test]) == correct[test]).sum())
        scores.append(100.0 * right / len(here))
    return float(np.mean(scores)), scores


def percent_of_few(
    features: np.ndarray, store: Store, make, examples: int, draws: int = 20
) -> tuple[float, list[float], float]:
    """Return the mean over exercises and draws, the mean of each exercise, and the spread of the draws' means."""
    correct, subject = store.attribute("correct").astype(str), store.attribute("subject").astype(str)
    people, scores = np.unique(subject), np.zeros((draws, len(store.classes)))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        for exercise in range(len(store.classes)):
            here = np.flatnonzero(np.asarray(store.label) == exercise)
            known = rng.permutation(people)[: examples // 2]
            train = np.array(
                [
                    rng.choice(here[(subject[here] == person) & (correct[here] == way)])
                    for person in known
                    for way in np.unique(correct)
                ]
            )
            test = here[~np.isin(subject[here], known)]
            answer = make().fit(features[train], correct[train]).predict(features[test])
            scores[draw, exercise] = 100.0 * np.mean(answer == correct[test])
    return float(scores.mean()), scores.mean(axis=0).tolist(), float(scores.mean(axis=1).std())


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("encoders", nargs="*")
    parser.add_argument("--examples", type=int, help="labelled recordings of every exercise; default: nine people's")
    parser.add_argument("--quick", action="store_true", help="nothing: this needs a store of UI-PRMD")
    arguments = parser.parse_args()
    if arguments.store is None:
        print("ui_prmd_correct: give a store of UI-PRMD, and encoders; nothing was measured")
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    store = Store.open(arguments.store)
    rows = np.arange(len(store))
    raw = RawBaseline().features(store, rows)

    def score(of: np.ndarray, make) -> tuple[float, list[float], float | None]:
        if arguments.examples is None:
            return *percent(of, store, make), None
        return percent_of_few(of, store, make, arguments.examples)

    lines = [("raw coordinates, ridge", score(raw, lambda: RidgeClassifier(alpha=RIDGE_PENALTY)))]
    for name in arguments.encoders:
        encoder = load_encoder(name)
        read = store_for(encoder, store, name)
        for what, of in ((f"{name}", encoder), (f"{name}, untrained", encoder.fresh(0).eval())):
            lines.append((what, score(extract(of, read, rows).pooled.numpy(), logistic)))
    for what, (mean, scores, spread) in lines:
        over_draws = "" if spread is None else f" ± {spread:.1f}"
        print(f"{what:40s} {mean:5.1f}{over_draws}   " + " ".join(f"{each:.0f}" for each in scores))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
