"""Every format passes the check that ships for readers: ids, labels, presence, finite positions, the same twice."""

from pathlib import Path

import pytest
from samples import FORMAT_SAMPLES

from marrow.importing.importer import Recordings
from marrow.testing import check_reader


@pytest.mark.parametrize("name", sorted(FORMAT_SAMPLES))
def test_good_files_pass_the_check_of_readers(tmp_path: Path, name: str) -> None:
    for number, case in enumerate(FORMAT_SAMPLES[name]()):
        root = tmp_path / str(number)
        for path, content in case.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        check_reader(Recordings(), root, of_people=False)  # tests make positions up
