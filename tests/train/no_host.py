"""Steps on tensors without content, and what of them would make a GPU wait for the host: none of that can be captured.

On the device "meta" nothing can be read, so that a step which needs a number fails. What only copies from the host to
the device is found by looking: operations over two devices, and lists that become tensors.

python no_host.py        prints one JSON object: for each kind of step, what was found in its second round. In the
                         first one, constants may be copied that stay.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from test_conformance_objectives import SMALL

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch, Shapes
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames
from marrow.data.sampling import training_batch
from marrow.data.window import InputConfig
from marrow.models.heads import JointsHead
from marrow.models.trainable import Trainable
from marrow.skeleton.layout import KINECT_V1_20
from marrow.tasks.recognition.trainable import FinetuneConfig, Recognition
from marrow.train.compiled import DrawnLoss

DEVICE = torch.device("meta")
AUGMENT = AugmentConfig(0.5, 1.0, 8, 0.3, 1.0, 0.5, 0.1, 0.001, 0.5)


class Crossings(TorchDispatchMode):
    """Notes where operations join two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def note(self, what: str) -> None:
        ours = [frame for frame in traceback.extract_stack() if "/src/marrow/" in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "elsewhere"
        self.found.append(f"{what} in {where}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if len({tensor.device for tensor in tensors}) > 1:
            self.note(str(func))
        return result


@contextmanager
def lists_noted(crossings: Crossings) -> Iterator[None]:
    """Note where a list becomes a tensor of the device, which no operation shows."""
    make, get, put = torch.tensor, Tensor.__getitem__, Tensor.__setitem__

    def tensor(data: Any, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type != "cpu":
            crossings.note("torch.tensor")
        return make(data, *args, **kwargs)

    def look(self: Tensor, index: Any) -> None:
        several = index if isinstance(index, tuple) else (index,)
        if self.device.type != "cpu" and any(isinstance(each, list | tuple | np.ndarray) for each in several):
            crossings.note("a list as an index")

    def getitem(self: Tensor, index: Any) -> Tensor:
        look(self, index)
        return get(self, index)

    def setitem(self: Tensor, index: Any, value: Any) -> None:
        look(self, index)
        put(self, index, value)

    torch.tensor, Tensor.__getitem__, Tensor.__setitem__ = tensor, getitem, setitem
    try:
        yield
    finally:
        torch.tensor, Tensor.__getitem__, Tensor.__setitem__ = make, get, put


def frames() -> FlatFrames:
    """Return thirty clips without content."""
    count = torch.full((30,), 40, device=DEVICE)
    return FlatFrames(
        joints=torch.empty(2400, 20, 3, device=DEVICE),
        present=torch.ones(2400, 20, device=DEVICE) > 0,
        first=count,
        frame_count=count,
        body_count=count,
        label=count,
        row=count,
        matrix=torch.empty(30, 3, 3, device=DEVICE),
        origin=torch.empty(30, 3, device=DEVICE),
        fps=torch.full((30,), 30.0, device=DEVICE),
        max_bodies=2,
        skeleton=KINECT_V1_20,
        most_joints=20,
    )


def eight(input: InputConfig) -> tuple[Batch, Draws]:
    """Cut and augment a batch of eight clips."""
    clips = torch.arange(8, device=DEVICE)
    draws = Draws(0, torch.full((), 3, device=DEVICE), clips)
    return training_batch(frames(), clips, draws, input, AUGMENT, Shapes(12, whole=False)), draws


def step(trainable: Trainable, input: InputConfig) -> None:
    """Do all that is captured of a step, but for the optimizer: AdamW has no kernel without content."""
    output = DrawnLoss(trainable)(*eight(input))
    output.loss_sum.backward()
    gradients = [each.grad for each in trainable.parameters() if each.grad is not None]
    torch._foreach_mul_(gradients, 1.0 / output.weight)
    nn.utils.clip_grad_norm_(trainable.parameters(), 1.0)
    trainable.zero_grad(set_to_none=True)


def found_in(take: Callable[[], Any]) -> list[str]:
    """Take a step twice, and return what crossed from one device to another the second time."""
    take()
    crossings = Crossings()
    with lists_noted(crossings), crossings:
        take()
    return crossings.found


def main() -> None:
    """Take a step of every method and variant of its input, and of fine-tuning."""
    # What must be found, so that an empty list says something.
    values, host = torch.empty(4, 3, device=DEVICE), torch.zeros(4)
    said = {"control": found_in(lambda: (values[:, [0, 1]], torch.tensor([1], device=DEVICE), host.to(DEVICE)))}
    for name, build in SMALL.items():
        objective = build().to(DEVICE)
        input = objective.encoder.input
        for pace in ("resized", "recorded"):
            for stream in ("joint", "bone", "motion", "bone_motion"):
                its = replace(input, pace=pace, stream=stream, min_frames=8)
                said[f"{name}, {pace}, {stream}"] = found_in(lambda one=objective, its=its: step(one, its))
        encoder = build().encoder.to(DEVICE)
        head = JointsHead(encoder.feature_shape.joints, encoder.dim, 2, 16).to(DEVICE)
        recognition = Recognition(encoder, head, FinetuneConfig(drop_path=0.1, dropout=0.1))
        said[f"{name}, fine-tuned"] = found_in(lambda one=recognition, its=input: step(one, its))
    print(json.dumps(said))


if __name__ == "__main__":
    # There is no autocast on such a device; it computes nothing.
    torch.autocast = lambda *_, **__: nullcontext()
    main()
