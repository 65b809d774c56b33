"""The label of the nearest training clip: nothing is trained, the features speak for themselves.

Gallery: the training clips; queries: the test clips; both centre crops. Features averaged over bodies, time and joints,
normalised to length 1, compared by cosine, k = 1 (the field's "action retrieval").
"""

from dataclasses import dataclass

import torch

from marrow.models.encoder import Encoder
from marrow.models.features import nearest_neighbour_labels
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About
from marrow.train.device import make_fabric

ABOUT = About("knn", "Nearest neighbour", beside="knn/raw", label="knn, pooled", by_class=False)


@dataclass(frozen=True)
class Knn:
    """Nearest neighbour by cosine: report `knn/pooled`."""

    @property
    def name(self) -> str:
        """How the task is called."""
        return "knn"

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Look every test clip up among the training clips."""
        gallery = context.table(encoder, data.store, data.train_rows)
        query = context.table(encoder, data.store, data.test_rows)
        label = torch.from_numpy(data.train_labels())
        device = make_fabric(context.device, context.precision)[0].device
        asked, among, label = (values.to(device) for values in (query.pooled, gallery.pooled, label))
        predicted = nearest_neighbour_labels(asked, among, label).cpu().numpy()
        return [
            Report.scored(
                "knn/pooled",
                {"top1": predicted},
                data.test_clips(),
                settings={"k": 1, "distance": "cosine", "features": "centre crops"},
                seed=context.seed,
                num_labels_used=len(label),
                about=ABOUT,
            )
        ]
