"""What test_on_device.py asks in a process of its own: pytest's checks of shapes would read what has no content.

Evaluation runs on the device "meta", whose tensors have a shape and no content, in place of a GPU: whatever needs a
number on the host raises, and every copy between the device and the host is counted. PyTorch without CUDA cannot index
tensors that pretend to be on a CUDA device, so "meta" it is, and in fp32, for autocast does not know it.

python on_device.py FOLDER        prints one JSON object
"""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from one_graph import AUGMENT, SMALL, walks

from marrow.data.batch import FixedShapes
from marrow.data.frames import flat_frames
from marrow.data.loader import ResidentLoader
from marrow.data.sampling import resident_batches
from marrow.data.window import InputConfig
from marrow.models.encoder import Encoder
from marrow.models.features import nearest_neighbour_labels
from marrow.models.heads import JointsHead
from marrow.models.patch_transformer import PatchTransformer
from marrow.store.format import Store
from marrow.tasks.base import TaskContext
from marrow.tasks.features import encode_on, encoded_blocks
from marrow.tasks.recognition import finetune_training, linear_probe
from marrow.tasks.recognition.finetune_training import _Predictions
from marrow.tasks.recognition.linear_probe import ProbeConfig, cached_batches, fit_heads
from marrow.tasks.recognition.readouts import nearest_class_mean
from marrow.tasks.recognition.retrieval import Rankings, RetrievalConfig
from marrow.train.monitor import Monitor

DEVICE = torch.device("meta")
CLIPS, BATCH, CLASSES = 44, 8, 2
# As much of a Fabric as evaluation asks for.
FABRIC = SimpleNamespace(device=DEVICE, autocast=nullcontext)


class Copies(TorchDispatchMode):
    """Counts copies from the host to the device and back; what comes back is zeros. Numbers alone are no copies."""

    def __init__(self) -> None:
        super().__init__()
        self.to_device = self.to_host = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        source = args[0] if args and isinstance(args[0], Tensor) else None
        if op is torch.ops.aten._to_copy.default and source is not None:
            to = kwargs.get("device") or source.device
            if source.device.type == "meta" and to.type == "cpu":
                self.to_host += 1
                return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
            self.to_device += source.device.type == "cpu" and to.type == "meta"
            return op(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.dim() > 0]
        devices = {each.device.type for each in tensors}
        if op is torch.ops.aten.copy_.default and devices == {"cpu", "meta"}:
            raise AssertionError("copy_ between the host and the device")
        assert len(devices) <= 1, f"{op} of tensors on {devices}"
        return op(*args, **kwargs)


class NoLists(TorchFunctionMode):
    """Refuses lists of the host that become tensors on the device without passing through the dispatcher."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in ("__getitem__", "__setitem__") and args[0].device.type == "meta":
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(each, list | np.ndarray) for each in index), "an index of the host"
        if name in ("tensor", "as_tensor"):
            assert torch.device((kwargs or {}).get("device") or "cpu").type == "cpu", f"torch.{name} on the device"
        return function(*args, **(kwargs or {}))


def counted(run: Any) -> tuple[int, int]:
    """Run something; return how many copies it made to the device, and how many back."""
    with Copies() as copies, NoLists():
        run()
    return copies.to_device, copies.to_host


def noticed() -> dict[str, Any]:
    """Do what must not be done; return what came of each."""
    on_host, on_device = torch.arange(3), torch.zeros(3, device=DEVICE)
    deeds = {
        "a number": lambda: on_device.max().item(),
        "a count": lambda: on_device.nonzero(),
        "a comparison": lambda: bool(on_device.all()),
        "an index": lambda: on_device[[0, 2]],
        "an index of the host": lambda: on_device[on_host],
        "a list": lambda: torch.tensor([0, 2], device=DEVICE),
        "copy_": lambda: on_device.copy_(on_host),
        "a copy there": lambda: on_host.to(DEVICE),
        "a copy back": lambda: on_device.cpu(),
    }
    said: dict[str, Any] = {}
    for name, deed in deeds.items():
        try:
            said[name] = counted(deed)
        except (AssertionError, RuntimeError, NotImplementedError):
            said[name] = "refused"
    return said


def batches(store: Store, input: InputConfig) -> Any:
    """Return what makes evaluation batches on the device, as `evaluation_batches` does for a GPU."""
    rows = np.arange(CLIPS)
    frames = flat_frames(store, rows, input, DEVICE)
    shapes = FixedShapes(np.asarray(store.body_count, np.int64)[rows], BATCH, frames.max_bodies, whole=False)
    return lambda: resident_batches(frames, rows, input, BATCH, shapes)


def encoding(encoder: Encoder, store: Store) -> dict[str, Any]:
    """Extract features, predict with a head, and look as the monitor does, at every pace and of every stream."""
    said, head = {}, JointsHead(*head_size(encoder), CLASSES, 8).to(DEVICE)
    input = encoder.input
    inputs = {"resized": input, "bone motion": replace(input, stream="bone_motion")}
    if not isinstance(encoder, PatchTransformer):  # which reads full windows
        inputs["recorded"] = replace(input, pace="recorded", min_frames=8)
    for name, given in inputs.items():
        make = batches(store, given)
        # Indices that are copied once are copied now.
        list(make())
        with torch.no_grad():
            said[f"extract {name}"] = counted(
                lambda make=make: list(encoded_blocks(encode_on(FABRIC, encoder, captured=False), make()))
            )
    recognition = nn.ModuleDict({"encoder": encoder, "head": head})
    watch: Any = SimpleNamespace(_recognition=recognition, _frames=None, _rows=None, _batch_clips=BATCH, _fabric=FABRIC)
    make = batches(store, input)
    finetune_training.evaluation_batches = lambda *_: make()
    said["predictions"] = counted(lambda: _Predictions._predict(watch))
    kept = list(make())
    monitor: Any = SimpleNamespace(_fabric=FABRIC)
    said["monitor"] = counted(lambda: Monitor._encode(monitor, encoder, kept))
    return said


def head_size(encoder: Encoder) -> tuple[int, int]:
    """Return joints and length of what a head reads."""
    return (encoder.grid.joint_patches if isinstance(encoder, PatchTransformer) else 1), encoder.dim


def probes(encoder: Encoder, store: Store, epochs: int) -> dict[str, Any]:
    """Train heads on cached features, and on features of augmented clips that are encoded in every epoch."""
    context, config = TaskContext(), ProbeConfig(epochs=epochs, batch_clips=BATCH)
    joints, dim = head_size(encoder)
    views = {"pooled": torch.zeros(CLIPS, dim), "joints": torch.zeros(CLIPS, joints * dim)}
    label = torch.zeros(CLIPS, dtype=torch.int64)

    def cached() -> None:
        fit_heads(
            *(cached_batches(views, label, BATCH, 0, DEVICE), views, CLASSES, config),
            **{"steps_per_epoch": -(-CLIPS // BATCH), "context": context},
        )

    # What the loader finds out once is found out where there is content.
    loader = ResidentLoader(
        *(store, np.arange(CLIPS), encoder.input, AUGMENT),
        **{"batch_clips": BATCH, "seed": 0, "device": "cpu", "fixed": True},
    )
    loader.frames = loader.frames.to(DEVICE)
    loader.next_step()
    loader.position = loader.steps_per_epoch

    def augmented() -> None:
        fit_heads(
            *(linear_probe._augmented_batches(encoder, loader, context), views, CLASSES, config),
            **{"steps_per_epoch": loader.steps_per_epoch, "context": context},
        )

    return {"cached": counted(cached), "augmented": counted(augmented)}


def neighbours() -> dict[str, Any]:
    """Look neighbours up, rank, and compare with means of classes."""
    features = torch.empty(300, 16, device=DEVICE)
    label = torch.zeros(300, dtype=torch.int64, device=DEVICE)
    few = np.repeat(np.arange(5), 60)
    return {
        "nearest": counted(lambda: nearest_neighbour_labels(features, features, label, chunk=64)),
        "rankings": counted(lambda: Rankings.scored(features, label, features, label, RetrievalConfig((1,), 64))),
        "means": counted(lambda: nearest_class_mean(features, few, features)),
    }


def main(folder: Path) -> dict[str, Any]:
    autocast = torch.autocast
    torch.autocast = lambda kind, **how: nullcontext() if kind == "meta" else autocast(kind, **how)
    TaskContext.fabric = lambda _: FABRIC
    store, said = walks(folder / "store"), {"noticed": noticed(), "neighbours": neighbours()}
    for name in ("mamp", "hi_trs", "motion_transformer"):
        encoder = SMALL[name]().encoder.eval().to(DEVICE)
        said[name] = encoding(encoder, store)
        for epochs in (2, 5):
            said[name] |= {f"{kind} probe, {epochs}": found for kind, found in probes(encoder, store, epochs).items()}
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]))))
