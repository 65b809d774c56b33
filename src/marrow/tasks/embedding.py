"""Features of clips as a file that other programs read: Parquet for pandas, Polars and DuckDB, or a NumPy matrix.

    FILE.parquet   one row per clip: id, row, label, class, split.*, attribute.*, feature (a list of fixed length)
    FILE.npy       the features alone, float32; FILE.json beside it says which clip each row is

Both carry the fingerprints of encoder and store, so that a file can be traced to what made it.
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64

import marrow
from marrow.errors import ConfigError, DataError
from marrow.files import check_writable, write_text_whole, write_whole
from marrow.models.export import load_encoder
from marrow.store.format import Store
from marrow.tasks.encoders import facts_of, store_for
from marrow.tasks.features import extract
from marrow.train.device import Precision

log = logging.getLogger(__name__)

Pooling = Literal["mean", "joints"]
# Clips that are encoded before their features are written: those of NTU-120 with joints kept take 3 GB together.
_BLOCK_CLIPS = 4096


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before anything is computed.

    Raises:
        ConfigError: another ending than .parquet or .npy, a folder, or a file that is there already.
    """
    if path.suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--out must end in .parquet or .npy, got {path.name!r}")
    beside = [path.with_suffix(".json")] if path.suffix == ".npy" else []
    for file in (path, *beside):
        if file.is_dir():
            raise ConfigError(f"{file} is a folder; give the name of a file")
        if file.exists() and not overwrite:
            raise ConfigError(f"{file} is already there; give another --out, or --overwrite to replace it")
    check_writable(path)


def write_features(
    run: Path,
    store: Store,
    rows: Int64[np.ndarray, " row"],
    out: Path,
    *,
    pooling: Pooling = "mean",
    batch_clips: int = 64,
    device: str = "auto",
    precision: Precision = "auto",
    overwrite: bool = False,
) -> tuple[int, int]:
    """Encode clips and write their features.

    Args:
        run: a run directory, or an exported encoder.
        store: the data, in the encoder's skeleton.
        rows: which clips, in the order of the file.
        out: a file that ends in .parquet or .npy.
        pooling: mean: over bodies, time and joints; joints: over bodies and time, joints side by side.
        batch_clips: clips per forward pass.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        overwrite: whether a file that is there may be replaced.

    Returns:
        how many clips, and the length of a feature vector.

    Raises:
        ConfigError: the file must not be written, or the store has another skeleton than the encoder.
        DataError: features are not finite.
        CheckpointError: there is no encoder, or it is damaged.
    """
    check_output(out, overwrite=overwrite)
    encoder = load_encoder(run)
    store = store_for(encoder, store, run)
    facts = {
        "marrow": marrow.__version__,
        "encoder": str(run),
        "encoder_fingerprint": facts_of(run, 0).fingerprint,
        "store": str(store.path),
        "store_fingerprint": store.fingerprint,
        "pooling": pooling,
    }

    def blocks() -> Iterator[Float32[np.ndarray, "clip dim"]]:
        for first in range(0, len(rows), _BLOCK_CLIPS):
            chosen = rows[first : first + _BLOCK_CLIPS]
            table = extract(encoder, store, chosen, batch_clips=batch_clips, device=device, precision=precision)
            features = table.pooled if pooling == "mean" else table.joints_kept
            if not bool(torch.isfinite(features).all()):
                raise DataError(f"{run} gives features that are not finite for rows {chosen[0]} to {chosen[-1]}")
            yield features.numpy()

    write = _write_parquet if out.suffix == ".parquet" else _write_npy
    dim = write(out, store, rows, blocks, facts)
    return len(rows), dim


_Blocks = Callable[[], Iterator[np.ndarray]]


def _describe(store: Store, rows: Int64[np.ndarray, " row"]) -> dict[str, list[Any]]:
    """Return what is known of clips, by column; None where something is not known."""
    label = store.label[rows].tolist()
    columns: dict[str, list[Any]] = {
        "id": [store.ids[row] for row in rows.tolist()],
        "row": rows.tolist(),
        "label": [number if number >= 0 else None for number in label],
        "class": [store.classes[number] if 0 <= number < len(store.classes) else None for number in label],
    }
    for name in store.splits:
        half = np.full(len(store), None, dtype=object)
        for word, members in zip(("train", "test"), store.split_rows(name), strict=True):
            half[members] = word
        columns[f"split.{name}"] = half[rows].tolist()
    for name in store.attributes:
        columns[f"attribute.{name}"] = store.attribute(name)[rows].tolist()
    return columns


def _write_parquet(out: Path, store: Store, rows: Int64[np.ndarray, " row"], blocks: _Blocks, facts: dict) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = pa.table(_describe(store, rows))
    for name in ("class", *(f"split.{name}" for name in store.splits)):
        place = described.column_names.index(name)  # a column of nothing but None has no type of its own
        described = described.set_column(place, name, described.column(name).cast(pa.string()))
    place = described.column_names.index("label")
    described = described.set_column(place, "label", described.column("label").cast(pa.int64()))
    dim = 0

    def write(path: Path) -> None:
        nonlocal dim
        writer, first = None, 0
        try:
            for block in blocks():
                dim = block.shape[1]
                values = pa.array(block.reshape(-1), pa.float32())
                feature = pa.FixedSizeListArray.from_arrays(values, dim)
                part = described.slice(first, len(block)).append_column("feature", feature)
                if writer is None:
                    metadata = {"marrow": json.dumps({**facts, "dim": dim})}
                    writer = pq.ParquetWriter(path, part.schema.with_metadata(metadata))
                writer.write_table(part.replace_schema_metadata(writer.schema.metadata))
                first += len(block)
        finally:
            if writer is not None:
                writer.close()

    write_whole(out, write)
    return dim


def _write_npy(out: Path, store: Store, rows: Int64[np.ndarray, " row"], blocks: _Blocks, facts: dict) -> int:
    features = np.concatenate(list(blocks()))
    dim = features.shape[1]

    def write(path: Path) -> None:
        with path.open("wb") as file:  # np.save would add an ending to the name
            np.save(file, features)

    described = {**facts, "dim": dim, "clips": _describe(store, rows)}
    write_whole(out, write)
    write_text_whole(out.with_suffix(".json"), json.dumps(described, ensure_ascii=False) + "\n")
    return dim
