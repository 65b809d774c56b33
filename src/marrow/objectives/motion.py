"""The motion that MAMP and AMR predict: differences over a stride of frames, and where they exist."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def motion(joints: Float[Tensor, "body time joint 3"], stride: int) -> Float[Tensor, "body time joint 3"]:
    """Return the forward difference over `stride` frames; zero for the last ones, which have nowhere to lead."""
    return F.pad(joints[:, stride:] - joints[:, :-stride], (0, 0, 0, 0, 0, stride))


def motion_exists(present: Bool[Tensor, "body time joint"], stride: int) -> Bool[Tensor, "body time joint"]:
    """Tell where there is motion: not into or out of an absent frame. The last frames lead nowhere and have zero."""
    leads_on = torch.arange(present.shape[1], device=present.device) < present.shape[1] - stride
    return present & (present.roll(-stride, dims=1) | ~leads_on[:, None])
