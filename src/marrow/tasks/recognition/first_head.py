"""The head that a fine-tuning begins with: at random, or as logistic regression on what the encoder says before.

An encoder that knows much is spoilt by the first steps of a random head, most of all where labels are few. A head that
is right already leaves it as it is where there is nothing to gain (Kumar, Raghunathan, Jones, Ma, Liang: "Fine-Tuning
can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022).
"""

from marrow.errors import ConfigError
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Encoder
from marrow.models.heads import Head, JointsHead, LinearHead
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.recognition.readouts import LogisticHead
from marrow.tasks.recognition.trainable import FinetuneConfig


def first_head(encoder: Encoder, data: TaskData, config: FinetuneConfig, context: TaskContext) -> Head:
    """Return the head that an encoder is to be trained with, made for its features.

    Raises:
        ConfigError: the features have no length of their own.
    """
    shape, classes = encoder.feature_shape, len(data.classes)
    if config.head == "logistic" or (config.head == "auto" and encoder.pooled_dim != encoder.dim):
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
    features = context.table(encoder, data.store, data.train_rows).pooled.numpy()
    return LogisticHead.fitted(features, data.train_labels()).as_layer(len(data.classes))
