"""An index of motions: their features and where each of them is, searched exactly, block by block, in NumPy.

On disk it is one file of safetensors, which is mapped, not read. It says of which encoder and store it is.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from safetensors.numpy import save_file

import marrow
from marrow.errors import CheckpointError
from marrow.files import make_folder, write_whole

INDEX_VERSION = 1
# Vectors that are compared at a time: 100 MB of 3,072 numbers each.
_BLOCK = 8_192


@dataclass(frozen=True)
class IndexFacts:
    """What an index is of; one of anything else is refused.

    Args:
        encoder: fingerprint of its weights.
        store: fingerprint of the data.
        seconds: length of a window; None: whole clips.
        stride: seconds between the beginnings of two windows; None: whole clips.
    """

    encoder: str
    store: str
    seconds: float | None = None
    stride: float | None = None


@dataclass(frozen=True)
class Hit:
    """A motion that is near a query: a row of the store, from and to which second of it, and how far it is."""

    row: int
    start_seconds: float
    end_seconds: float
    distance: float


@dataclass(frozen=True)
class Index:
    """Feature vectors of motions, and where each of them is.

    Args:
        features: standardised over all motions, and of length one; zero where nothing is left.
        mean: what was subtracted.
        scale: what that was divided by.
        row: the store's row of each.
        start_seconds: where each begins.
        end_seconds: where it ends.
        facts: what the index is of.
    """

    features: Float32[np.ndarray, "motion dim"]
    mean: Float32[np.ndarray, " dim"]
    scale: Float32[np.ndarray, " dim"]
    row: Int64[np.ndarray, " motion"]
    start_seconds: Float64[np.ndarray, " motion"]
    end_seconds: Float64[np.ndarray, " motion"]
    facts: IndexFacts

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def of(
        cls,
        features: Float32[np.ndarray, "motion dim"],
        row: Int64[np.ndarray, " motion"],
        start_seconds: Float64[np.ndarray, " motion"],
        end_seconds: Float64[np.ndarray, " motion"],
        facts: IndexFacts,
    ) -> "Index":
        """Make an index of features as an encoder gives them; those of a single motion are not standardised."""
        mean, scale = np.zeros_like(features[0]), np.ones_like(features[0])
        if len(features) > 1:
            mean, scale = features.mean(0), features.std(0)
            scale = np.where(scale > 0, scale, np.float32(1))
        standardised = features - mean
        standardised /= scale  # in place: a million windows take gigabytes
        standardised /= _lengths(standardised)
        return cls(standardised, mean, scale, row, start_seconds, end_seconds, facts)

    def distances(self, query: Float32[np.ndarray, " dim"]) -> Float32[np.ndarray, " motion"]:
        """Return the distance of every motion to the features of a query: 1 - cosine, after standardisation."""
        direction = (query - self.mean) / self.scale
        direction = direction / _lengths(direction)
        blocks = [self.features[first : first + _BLOCK] @ direction for first in range(0, len(self), _BLOCK)]
        return np.float32(1.0) - np.concatenate(blocks)

    def nearest(
        self, query: Float32[np.ndarray, " dim"], count: int, left_out: Bool[np.ndarray, " motion"] | None = None
    ) -> list[Hit]:
        """Return the nearest motions, the nearest first, of which no two overlap in time.

        Of motions that overlap, the nearest one stands for all (non-maximum suppression); of equally near ones, the
        first.

        Args:
            query: its features, as the encoder gives them.
            count: motions at most.
            left_out: which motions are not to be among them.
        """
        distances = self.distances(query)
        if left_out is not None:
            distances[left_out] = np.inf
        candidates = min(len(self), max(4 * count, 64))
        while True:
            nearest = np.argpartition(distances, candidates - 1)[:candidates]
            # What is as far as the farthest of them may be missing: order and first of equals must not depend on it.
            nearest = np.flatnonzero(distances <= distances[nearest].max())
            hits = self.apart(nearest[np.argsort(distances[nearest], kind="stable")], distances, count)
            if len(hits) == count or candidates == len(self):
                return hits
            candidates = min(len(self), 4 * candidates)

    def apart(
        self, ordered: Int64[np.ndarray, " some"], distances: Float32[np.ndarray, " motion"], count: int
    ) -> list[Hit]:
        """Return the first motions of an order that overlap none before them and are at a finite distance."""
        hits: list[Hit] = []
        for place in ordered.tolist():
            if len(hits) == count or not np.isfinite(distances[place]):
                break
            row, start, end = int(self.row[place]), float(self.start_seconds[place]), float(self.end_seconds[place])
            overlaps = (hit.row == row and start < hit.end_seconds and hit.start_seconds < end for hit in hits)
            if not any(overlaps):
                hits.append(Hit(row, start, end, float(distances[place])))
        return hits

    def overlapping(self, row: int, start_seconds: float, end_seconds: float) -> Bool[np.ndarray, " motion"]:
        """Tell which motions are of a row and overlap a time."""
        return (self.row == row) & (self.start_seconds < end_seconds) & (start_seconds < self.end_seconds)

    def save(self, path: Path) -> None:
        """Write the index; a file of safetensors, nothing in which is executable."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        said = {"marrow_index": INDEX_VERSION, "marrow": marrow.__version__, **asdict(self.facts)}
        make_folder(path.parent)
        write_whole(path, lambda partial: save_file(arrays, partial, {"marrow": json.dumps(said)}))

    @classmethod
    def open(cls, path: Path) -> "Index":
        """Map an index that is on disk.

        Raises:
            CheckpointError: it is missing or damaged, or of another version.
        """
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(size, path.stat().st_size)))
            said = json.loads(header.pop("__metadata__")["marrow"])
            if said.pop("marrow_index") != INDEX_VERSION:
                raise CheckpointError(
                    f"{path}: an index of marrow {said['marrow']} in another version; remove it, and it is made anew"
                )
            said.pop("marrow")
            arrays = {name: _mapped(path, 8 + size, header[name], kind) for name, kind in _ARRAYS.items()}
            index = cls(**arrays, facts=IndexFacts(**said))
            if not len(index.features) == len(index.row) == len(index.start_seconds) == len(index.end_seconds) > 0:
                raise ValueError("its parts are of different lengths")
            return index
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged file brings, the person needs its name
            raise CheckpointError(
                f"{path} cannot be read as an index ({type(error).__name__}: {error}); give another --index, or remove "
                "this one, and it is made anew"
            ) from error


_ARRAYS = {
    **{"features": "F32", "mean": "F32", "scale": "F32"},
    **{"row": "I64", "start_seconds": "F64", "end_seconds": "F64"},
}
_KINDS = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def _mapped(path: Path, begin: int, described: Any, kind: str) -> np.ndarray:
    """Map an array of a file of safetensors: read when it is needed, and no further than that."""
    if described["dtype"] != kind:
        raise ValueError(f"expected {kind}, got {described['dtype']}")
    shape, offset = tuple(described["shape"]), begin + described["data_offsets"][0]
    return np.asarray(np.memmap(path, _KINDS[kind], "r", offset, shape))


def _lengths(vectors: Float32[np.ndarray, "*any dim"]) -> Float32[np.ndarray, "*any one"]:
    """Return the lengths of vectors; 1 for those that are zero, and stay so when divided."""
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    return np.where(lengths > 0, lengths, np.float32(1))
