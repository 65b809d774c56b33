"""Neighbours and statistics of feature vectors: pure functions that the pre-training monitor and the tasks share."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


def nearest_neighbours(
    query: Float[Tensor, "query dim"], gallery: Float[Tensor, "gallery dim"], *, chunk: int = 4096
) -> Int64[Tensor, " query"]:
    """Return the index of each query's nearest gallery vector by cosine; the first one where several are equal.

    In fp32 whatever autocast says, on the device of the vectors.

    Args:
        query: vectors to look up.
        gallery: vectors to look among.
        chunk: queries per block, which bounds the memory to `chunk` times the gallery's length.
    """
    normalised = nn.functional.normalize(gallery.float(), dim=1)
    blocks = nn.functional.normalize(query.float(), dim=1).split(chunk)
    with torch.autocast(query.device.type, enabled=False):
        return torch.cat([(block @ normalised.T).argmax(dim=1) for block in blocks])


def nearest_neighbour_labels(
    query: Float[Tensor, "query dim"],
    gallery: Float[Tensor, "gallery dim"],
    gallery_label: Int64[Tensor, " gallery"],
    *,
    chunk: int = 4096,
) -> Int64[Tensor, " query"]:
    """Return the label of each query's nearest gallery vector by cosine (k = 1)."""
    return gallery_label[nearest_neighbours(query, gallery, chunk=chunk)]


def effective_rank(features: Float[Tensor, "clip dim"]) -> float:
    """Return how many directions feature vectors use: exp of the entropy of their normalised singular values.

    RankMe (Garrido, Balestriero, Najman, LeCun: "RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank", ICML 2023): vectors are neither centred nor normalised, and 1e-7 is
    added to every share. The smaller of the numbers of clips and dimensions bounds it; 1 means that all vectors are
    multiples of one.
    """
    singular = torch.linalg.svdvals(features.detach().cpu().double())
    share = singular / singular.sum().clamp(min=torch.finfo(torch.float64).tiny) + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))


def spread_percent(features: Float[Tensor, "clip dim"]) -> float:
    """Return how much vectors differ from their mean, in percent of their length (both root mean square).

    0 means that all are the same, 100 that their mean is zero. Where all have one length, 100 % minus the mean cosine
    of all pairs is its square.
    """
    features = features.detach().double()
    length = features.square().sum(1).mean()
    deviation = (features - features.mean(0)).square().sum(1).mean()
    return 100.0 * float((deviation / length.clamp(min=torch.finfo(torch.float64).tiny)).sqrt())


def leave_one_out_percent(
    features: Float[Tensor, "clip dim"], label: Int64[Tensor, " clip"], group: Int64[Tensor, " clip"] | None = None
) -> float:
    """Return the share of vectors whose nearest other vector by cosine has their label, in percent.

    Args:
        features: vectors.
        label: of each.
        group: neighbours are looked for in other groups only; a vector without such is not asked. None: each vector is
            a group of its own.
    """
    same = _same_group(label, group)
    normalised = nn.functional.normalize(features.float(), dim=1)
    with torch.autocast(features.device.type, enabled=False):
        cosine = (normalised @ normalised.T).masked_fill(same.to(features.device), -2.0)
    right = label[cosine.argmax(1).to(label.device)] == label
    return 100.0 * float(right[~same.all(1)].double().mean())


def chance_percent(label: Int64[Tensor, " clip"], group: Int64[Tensor, " clip"] | None = None) -> float:
    """Return the mean of `leave_one_out_percent` where, for want of knowledge, another clip is drawn at random."""
    others = ~_same_group(label, group)
    right = (others & (label[:, None] == label[None, :])).sum(1)
    count = others.sum(1)
    return 100.0 * float((right / count.clamp(min=1))[count > 0].double().mean())


def _same_group(label: Int64[Tensor, " clip"], group: Int64[Tensor, " clip"] | None) -> Bool[Tensor, "clip clip"]:
    group = torch.arange(len(label)) if group is None else group
    return group[:, None] == group[None, :]
