"""The head that a fine-tuning begins with: at random, or as logistic regression on what the encoder says before.

An encoder that knows much is spoilt by the first steps of a random head, most of all where labels are few. A head that
is right already leaves it as it is where there is nothing to gain (Kumar, Raghunathan, Jones, Ma, Liang: "Fine-Tuning
can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022).
"""

import torch

from marrow.errors import ConfigError
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Encoder
from marrow.models.heads import Head, JointsHead, LinearHead
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig
from marrow.tasks.recognition.trainable import FinetuneConfig

# The score of a class that has no training clip lies so far below the lowest of the others.
_UNKNOWN_CLASS = 10.0


def first_head(encoder: Encoder, data: TaskData, config: FinetuneConfig, context: TaskContext) -> Head:
    """Return the head that an encoder is to be trained with, made for its features.

    Raises:
        ConfigError: the features have no length of their own.
    """
    shape, classes = encoder.feature_shape, len(data.classes)
    if config.head == "logistic" or (config.head == "auto" and encoder.is_by_place):
        return logistic_head(encoder, data, context)
    if encoder.input.pace == "recorded" and shape.summary_dim is None:
        raise ConfigError(
            "fine-tuning reads features of one length, and at the recorded pace those of this encoder differ from clip "
            "to clip: it would need a summary of each body (for a frame transformer: encoder.readout cls)"
        )
    with seeded_weights(context.seed):
        joints = shape.joints if shape.summary_dim is None else 1
        return JointsHead(joints, encoder.pooled_dim, classes, config.hidden_width)


def logistic_head(encoder: Encoder, data: TaskData, context: TaskContext) -> LinearHead:
    """Return logistic regression on the frozen features of the training clips as a linear layer."""
    label, features = data.train_labels(), context.table(encoder, data.store, data.train_rows).pooled.double().numpy()
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation == 0] = 1.0
    logistic = Logistic.fitted((features - mean) / deviation, label, LogisticConfig())
    weight, bias = logistic.weights()
    head = LinearHead(encoder.pooled_dim, len(data.classes))
    with torch.no_grad():
        head.classify.weight.zero_()
        head.classify.bias.fill_(float(bias.min()) - _UNKNOWN_CLASS)
        # As one layer on features as they are: w (x - mean) / deviation + b.
        scaled = weight / deviation
        head.classify.weight[logistic.classes] = torch.from_numpy(scaled).float()
        head.classify.bias[logistic.classes] = torch.from_numpy(bias - scaled @ mean).float()
    return head
