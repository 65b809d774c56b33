"""Features of a frozen encoder: extracted once per encoder and clip, shared by every probe."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marrow.data.loader import evaluation_batches
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.train.precision import Precision, make_fabric

log = logging.getLogger(__name__)


@dataclass
class FeatureTable:
    """Features of some clips, in the order asked for, on the CPU in float32.

    Args:
        pooled: averaged over bodies, time and joints.
        joints_kept: averaged over bodies and time, joints side by side.
        label: 0-based class, -1 where unknown.
        row: the clips' rows in the store.
    """

    pooled: Float[Tensor, "clip dim"]
    joints_kept: Float[Tensor, "clip joint_dim"]
    label: Int64[Tensor, " clip"]
    row: Int64[Tensor, " clip"]

    def views(self) -> Mapping[str, Float[Tensor, "clip _"]]:
        """Return the kinds of feature by name."""
        return {"pooled": self.pooled, "joints": self.joints_kept}

    def take(self, index: Int64[Tensor, " taken"]) -> "FeatureTable":
        """Return some of the clips, by position."""
        return FeatureTable(self.pooled[index], self.joints_kept[index], self.label[index], self.row[index])


def extract(
    encoder: Encoder,
    store: Store,
    rows: Int64[np.ndarray, " row"],
    *,
    batch_clips: int = 64,
    device: str = "auto",
    precision: Precision = "auto",
) -> FeatureTable:
    """Run an encoder over centre crops, frozen and in eval mode, and leave it in the mode in which it came.

    Args:
        encoder: the encoder; its own `input` decides window, stream and alignment.
        store: the data.
        rows: which clips.
        batch_clips: clips per forward pass.
        device: "auto", "cpu", "cuda", ...
        precision: "auto", "fp32" or "bf16".
    """
    fabric, _ = make_fabric(device, precision)
    was_training = encoder.training
    encoder.to(fabric.device).eval()
    pooled, kept, label, row = [], [], [], []
    with torch.inference_mode(), fabric.autocast():
        for batch in evaluation_batches(store, rows, encoder.input, batch_clips, fabric.device):
            features = encoder(batch)
            pooled.append(features.pooled().float().cpu())
            kept.append(features.joints_kept().float().cpu())
            label.append(batch.label.cpu())
            row.append(batch.row.cpu())
    encoder.train(was_training)
    log.debug("extracted features of %d clips", len(rows))
    # Cloned: tensors made in inference mode cannot take part in the training of a probe.
    return FeatureTable(*(torch.cat(parts).clone() for parts in (pooled, kept, label, row)))


@dataclass
class FeatureCache:
    """The features extracted so far, by encoder, data, device and precision; forgotten with the encoder.

    Probes of one encoder on several protocols, or on the folds of leave-one-out, ask for overlapping rows: each clip is
    encoded once.
    """

    _tables: WeakKeyDictionary[Encoder, dict[tuple[str, str, str], FeatureTable]] = field(
        default_factory=WeakKeyDictionary
    )

    def table(
        self,
        encoder: Encoder,
        store: Store,
        rows: Int64[np.ndarray, " row"],
        *,
        batch_clips: int = 64,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> FeatureTable:
        """Return the features of some rows, running the encoder only over those that are new."""
        tables = self._tables.setdefault(encoder, {})
        key = (store.fingerprint, device, precision)
        known = tables.get(key)
        new = rows if known is None else np.setdiff1d(rows, known.row.numpy())
        if len(new):
            added = extract(encoder, store, new, batch_clips=batch_clips, device=device, precision=precision)
            known = added if known is None else _joined(known, added)
            tables[key] = known
        assert known is not None, "no rows were asked for"
        position = {int(row): place for place, row in enumerate(known.row)}
        return known.take(torch.tensor([position[int(row)] for row in rows], dtype=torch.int64))


def _joined(first: FeatureTable, second: FeatureTable) -> FeatureTable:
    return FeatureTable(
        torch.cat([first.pooled, second.pooled]),
        torch.cat([first.joints_kept, second.joints_kept]),
        torch.cat([first.label, second.label]),
        torch.cat([first.row, second.row]),
    )
