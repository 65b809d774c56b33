"""What listing sees to be wrong with one recording: stopped at, or dropped with its reason."""

from dataclasses import dataclass

import pytest
from toy_source import Toy, make_sequence

from marrow.errors import DataError, ParseError
from marrow.readers.base import SkipRecording, faulty_record
from marrow.store import Store, convert_recordings


@dataclass(frozen=True)
class Named(Toy):
    """As Toy, and a file whose name is no number is a fault of its record."""

    def records(self, root):
        for file in sorted(root.glob("*.toy")):
            if file.stem.isdecimal():
                yield next(record for record in super().records(root.parent / "good") if record.id == file.stem)
            else:
                yield faulty_record(root, ParseError(file, 0, f"expected a number, got {file.stem!r}"))

    def read(self, root, record):
        if record.id == "3":
            raise DataError("3: holds what no body can be")
        if record.id == "2":
            raise SkipRecording("nobody")
        return make_sequence(int(record.id), record, self.scale)


@pytest.fixture
def folders(tmp_path):
    for folder, names in (("good", range(5)), ("in", (*range(5), "x"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.toy").write_text("1")
    return tmp_path


def test_a_fault_stops_before_anything_is_written(folders):
    with pytest.raises(ParseError, match=r"expected a number, got 'x'.*--on_error drop") as caught:
        convert_recordings(Named(), folders / "in", folders / "store")
    assert (caught.value.path, (folders / "store").exists()) == (folders / "in" / "x.toy", False)


@pytest.mark.parametrize("jobs", [1, 2])
def test_faults_are_dropped_with_their_reason(folders, jobs):
    summary = convert_recordings(Named(), folders / "in", folders / "store", on_error="drop", jobs=jobs, shard_clips=2)
    assert list(Store.open(folders / "store").ids) == ["0", "1", "4"]
    assert {dropped.id: dropped.path for dropped in summary.dropped} == {"2": "2.toy", "3": "3.toy", "x.toy": "x.toy"}
    reasons = {dropped.id: dropped.reason for dropped in summary.dropped}
    assert (reasons["2"], reasons["3"]) == ("nobody", "3: holds what no body can be")
    assert "expected a number, got 'x'" in reasons["x.toy"]
