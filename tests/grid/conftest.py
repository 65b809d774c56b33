"""A store of twenty clips, and grids on it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from grid_cells import TEST_CLIPS

from marrow.cli.grid import settings_of, task_settings_of
from marrow.grid.cells import make_cells
from marrow.grid.plan import Grid, read_grid
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store


@pytest.fixture(scope="session")
def ten_clips(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten clips to learn from and ten to test on."""
    sequences = []
    for number in range(2 * TEST_CLIPS):
        joints = np.full((1, 4, 20, 3), 0.1 * number, np.float32) + np.arange(20, dtype=np.float32)[:, None] / 20
        record = Record(f"clip{number}", label=number % 2, attributes={"view": number // TEST_CLIPS})
        sequences.append(SkeletonSequence(joints, np.ones((1, 4, 20), np.bool_), 30.0, KINECT_V1_20, record))
    split = Split(lambda record: record.attributes["view"] == 0, lambda record: record.attributes["view"] == 1)
    folder = tmp_path_factory.mktemp("ten") / "store"
    return write_store(folder, sequences, source="test", classes=("sit", "stand"), splits={"xview": split})


@pytest.fixture
def write_grid(tmp_path: Path):
    """Write and read a grid: `write_grid(rows, tasks=...)`; rows are mappings."""

    def write(rows: list[dict], **values: object) -> Grid:
        shared = {"recipe": "mamp_synthetic", "protocol": "xview", "tasks": "knn", "seeds": [0]}
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump({**shared, **values, "rows": rows}, sort_keys=False))
        return read_grid(path)

    return write


@pytest.fixture
def cells_of(tmp_path: Path, ten_clips: Store):
    """Return the cells of a grid in the temporary folder."""
    return lambda grid: make_cells(grid, ten_clips, tmp_path / "out", 1, settings_of, task_settings_of)
