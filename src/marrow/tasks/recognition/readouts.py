"""Heads that are computed rather than trained, on frozen features: logistic regression, nearest class mean.

Features are standardised by all training clips, whether their labels are used or not: the encoder has seen them too,
and one clip per class has no spread to go by. With all labels, logistic regression is that of `logistic/pooled`.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from marrow.models.encoder import Features
from marrow.models.heads import LinearHead

# The score of a class that has no training clip lies so far below the lowest of the others.
_UNKNOWN_CLASS = 20.0


@dataclass(frozen=True)
class LogisticConfig:
    """Settings of the quick head.

    Args:
        inverse_penalty: scikit-learn's C. Fixed, for there is no validation split to choose it on.
        max_iterations: of the solver; whether it converged before is in the report.
    """

    inverse_penalty: float = 1.0
    max_iterations: int = 5000


def standardised(
    train: Float[Tensor, "train dim"], test: Float[Tensor, "test dim"]
) -> tuple[Float64[np.ndarray, "train dim"], Float64[np.ndarray, "test dim"]]:
    """Shift and scale each dimension by the mean and the spread of the training clips."""
    scaler = StandardScaler().fit(train.double().numpy())
    return np.asarray(scaler.transform(train.double().numpy())), np.asarray(scaler.transform(test.double().numpy()))


@dataclass(frozen=True)
class Logistic:
    """Logistic regression that has been fitted.

    Args:
        model: scikit-learn's; None where all clips were of one class, which then is the answer to everything.
        classes: that were learned, in ascending order.
        converged: whether the solver came to its end.
    """

    model: LogisticRegression | None
    classes: Int64[np.ndarray, " class"]
    converged: bool

    @classmethod
    def fitted(
        cls, features: Float64[np.ndarray, "clip dim"], label: Int64[np.ndarray, " clip"], config: LogisticConfig
    ) -> "Logistic":
        """Fit by maximum likelihood with an L2 penalty, to the optimum."""
        classes = np.unique(label)
        if len(classes) == 1:
            return cls(None, classes, True)
        model = LogisticRegression(C=config.inverse_penalty, max_iter=config.max_iterations)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            # One clip per class is what was asked for.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.fit(features, label)
        return cls(model, classes, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught))

    def log_probability(self, features: Float64[np.ndarray, "clip dim"]) -> Float64[np.ndarray, "clip class"]:
        """Return the logarithm of the probability of each learned class."""
        if self.model is None:
            return np.zeros((len(features), 1))
        score = self.model.decision_function(features)
        # Of two classes scikit-learn gives one score, that of the second against the first. From scores, not from
        # probabilities: of those the logarithm of a small one is lost.
        score = np.stack([np.zeros_like(score), score], axis=1) if score.ndim == 1 else score
        return torch.from_numpy(score).log_softmax(dim=1).numpy()

    def predict(self, features: Float64[np.ndarray, "clip dim"]) -> Int64[np.ndarray, " clip"]:
        """Return the most probable class; the first of equals."""
        return self.classes[self.log_probability(features).argmax(axis=1)]


@dataclass(frozen=True)
class LogisticHead:
    """Logistic regression of features that it standardises itself.

    Args:
        mean: of every number of the features.
        scale: likewise their spread.
        logistic: of the standardised ones.
    """

    mean: Float64[np.ndarray, " dim"]
    scale: Float64[np.ndarray, " dim"]
    logistic: Logistic

    @classmethod
    def fitted(cls, features: Float32[np.ndarray, "clip dim"], label: Int64[np.ndarray, " clip"]) -> "LogisticHead":
        """Learn from the features of labelled clips."""
        exact = features.astype(np.float64)
        mean, spread = exact.mean(axis=0), exact.std(axis=0)
        scale = np.where(spread > 0.0, spread, 1.0)
        return cls(mean, scale, Logistic.fitted((exact - mean) / scale, label, LogisticConfig()))

    def scores(self, features: Float32[np.ndarray, "clip dim"]) -> Float64[np.ndarray, "clip class"]:
        """Return the logarithm of the probability of each class that was learned."""
        return self.logistic.log_probability((features - self.mean) / self.scale)

    def __call__(self, features: Features) -> Tensor:
        """Return `scores` of pooled features."""
        return torch.from_numpy(self.scores(features.pooled().float().cpu().numpy()))

    def as_layer(self, classes: int) -> LinearHead:
        """Return the same as a layer, of two or more classes; its scores are the same but for a constant.

        A class that was not learned, for want of a clip, is next to impossible.
        """
        fitted = self.logistic.model
        assert fitted is not None
        weight, bias = np.asarray(fitted.coef_), np.asarray(fitted.intercept_)
        if len(weight) == 1:  # of two classes scikit-learn keeps the score of the second against the first
            weight, bias = np.vstack([0 * weight, weight]), np.append(0 * bias, bias)
        head = LinearHead(len(self.mean), classes)
        head.mean.copy_(torch.from_numpy(self.mean))
        head.scale.copy_(torch.from_numpy(self.scale))
        with torch.no_grad():
            head.classify.weight.zero_()
            head.classify.bias.fill_(float(bias.min()) - _UNKNOWN_CLASS)
            head.classify.weight[self.logistic.classes] = torch.from_numpy(weight).float()
            head.classify.bias[self.logistic.classes] = torch.from_numpy(bias).float()
        return head


def nearest_class_mean(
    features: Float[Tensor, "clip dim"],
    label: Int64[np.ndarray, " clip"],
    query: Float[Tensor, "query dim"],
) -> Int64[np.ndarray, " query"]:
    """Return the class whose mean is nearest by cosine; vectors have length 1 before they are averaged.

    On the device of the vectors and in their precision, whatever autocast says.
    """
    classes, count = np.unique(label, return_counts=True)
    by_class = torch.from_numpy(np.argsort(label, kind="stable")).to(features.device)
    unit = nn.functional.normalize(features[by_class], dim=1)
    means = torch.stack([clips.mean(0) for clips in unit.split(count.tolist())])
    with torch.autocast(features.device.type, enabled=False):
        cosine = nn.functional.normalize(query, dim=1) @ nn.functional.normalize(means, dim=1).T
    return classes[cosine.argmax(dim=1).cpu().numpy()]
