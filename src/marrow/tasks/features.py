"""Features of a frozen encoder: extracted once per encoder and clip, shared by every probe."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.frames import flat_frames, frame_bytes, resident_limit
from marrow.data.sampling import evaluation_batches
from marrow.models.encoder import Encoder
from marrow.progress import counting
from marrow.store.format import Store
from marrow.train.captured import CapturedCall, recorder_for
from marrow.train.device import Precision, make_fabric, memory_advice

log = logging.getLogger(__name__)

# Clips whose features stay on a device until they are copied: of NTU with joints kept, 100 MB.
_BLOCK_CLIPS = 4096


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
        return FeatureTable(*(part[index] for part in self._parts()))

    def followed_by(self, other: "FeatureTable") -> "FeatureTable":
        """Return the clips of both, one table behind the other."""
        return FeatureTable(*map(torch.cat, zip(self._parts(), other._parts(), strict=True)))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.pooled, self.joints_kept, self.label, self.row


def extract(
    encoder: Encoder,
    store: Store,
    rows: Int64[np.ndarray, " row"],
    *,
    batch_clips: int = 64,
    device: str = "auto",
    precision: Precision = "auto",
    captured: bool = True,
) -> FeatureTable:
    """Run an encoder over centre crops, frozen and in eval mode, and leave it in the mode in which it came.

    Args:
        encoder: the encoder; its own `input` decides window, stream and alignment.
        store: the data.
        rows: which clips.
        batch_clips: clips per forward pass.
        device: "auto", "cpu", "cuda", ...
        precision: "auto", "fp32" or "bf16".
        captured: whether what the encoder does is captured on a GPU (`marrow.train.captured`).
    """
    fabric, _ = make_fabric(device, precision)
    was_training = encoder.training
    encoder.to(fabric.device).eval()
    resident = fabric.device.type != "cpu" and frame_bytes(store, rows) <= resident_limit(fabric.device)
    source = flat_frames(store, rows, encoder.input, fabric.device) if resident else store
    with torch.inference_mode(), counting("encoding", "clips") as progress:
        batches = evaluation_batches(source, rows, encoder.input, batch_clips, fabric.device)
        encode = encode_on(fabric, encoder, captured=captured)
        with memory_advice(batch_clips, "Set a smaller batch_clips: the features are the same"):
            blocks = list(encoded_blocks(encode, batches, lambda done: progress(done, len(rows))))
    encoder.train(was_training)
    log.debug("extracted features of %d clips", len(rows))
    # Joined here: tensors made in inference mode cannot take part in the training of a probe.
    pooled, kept = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    label = np.asarray(store.label, dtype=np.int64)[rows]
    return FeatureTable(pooled, kept, torch.from_numpy(label), torch.from_numpy(np.array(rows, dtype=np.int64)))


def encode_on(fabric: Fabric, encoder: Encoder, *, captured: bool) -> CapturedCall:
    """Return what gives the features of a batch in float32, pooled and with joints kept, without a gradient.

    The encoder is in eval mode, on the device of the fabric, and its weights stay where they are.
    """

    def encode(batch: Batch) -> tuple[Tensor, ...]:
        # Autocast begins and ends in here: weights that it has rounded must not outlive a recording.
        with torch.no_grad(), fabric.autocast():
            features = encoder(batch)
            return features.pooled().float(), features.joints_kept().float()

    return CapturedCall(encode, recorder_for(fabric.device) if captured else None)


def encoded_blocks(
    encode: CapturedCall, batches: Iterable[Batch], progress: Callable[[int], None] = lambda done: None
) -> Iterator[tuple[Float[Tensor, "clip dim"], Float[Tensor, "clip joint_dim"]]]:
    """Yield the features of some thousand clips at a time, on the CPU: the one thing that is waited for.

    `progress` is told after every batch how many clips are done.
    """
    block: list[tuple[Tensor, ...]] = []
    clips = done = 0
    progress(0)
    for batch in batches:
        block.append(encode(batch))
        clips += len(batch)
        done += len(batch)
        progress(done)
        if clips >= _BLOCK_CLIPS:
            yield _on_cpu(block)
            block, clips = [], 0
    if block:
        yield _on_cpu(block)


def _on_cpu(block: list[tuple[Tensor, ...]]) -> tuple[Float[Tensor, "clip dim"], Float[Tensor, "clip joint_dim"]]:
    pooled, kept = (torch.cat(parts).cpu() for parts in zip(*block, strict=True))
    return pooled, kept


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
        captured: bool = True,
    ) -> FeatureTable:
        """Return the features of some rows, running the encoder (`extract`) only over those that are new."""
        tables = self._tables.setdefault(encoder, {})
        key = (store.fingerprint, device, precision)
        table = tables.get(key)
        new = rows if table is None else np.setdiff1d(rows, table.row.numpy())
        if len(new):
            how = {"batch_clips": batch_clips, "device": device, "precision": precision, "captured": captured}
            added = extract(encoder, store, new, **how)
            table = tables[key] = added if table is None else table.followed_by(added)
        assert table is not None, "no rows were asked for"
        position = {row: place for place, row in enumerate(table.row.tolist())}
        return table.take(torch.tensor([position[row] for row in rows.tolist()], dtype=torch.int64))
