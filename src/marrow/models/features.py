"""What can be read off feature vectors alone: pure functions, shared by the pre-training monitor and the tasks."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


def nearest_neighbours(
    query: Float[Tensor, "query dim"], gallery: Float[Tensor, "gallery dim"], *, chunk: int = 4096
) -> Int64[Tensor, " query"]:
    """Return the index of each query's nearest gallery vector by cosine; the first one where several are equal.

    Args:
        query: vectors to look up.
        gallery: vectors to look among.
        chunk: queries per block, which bounds the memory to `chunk` times the gallery's length.
    """
    normalised = nn.functional.normalize(gallery.float(), dim=1)
    blocks = nn.functional.normalize(query.float(), dim=1).split(chunk)
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
