"""What is said where a file cannot be written, and that nothing half-written is left."""

import errno
from pathlib import Path

import pytest

from marrow import files
from marrow.errors import CheckpointError, DataError, MarrowError, OutputError
from marrow.files import check_exists, check_writable, write_text_whole, write_whole
from marrow.models.export import load_encoder


def test_a_full_disk_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError) as caught:
        write_whole(tmp_path / "page.html", write)
    said = str(caught.value)
    assert str(tmp_path / "page.html") in said
    assert "No space left on device" in said
    assert "Free some space" in said
    assert list(tmp_path.iterdir()) == []


def test_libraries_that_do_not_say_so_run_into_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> None:
        raise ValueError("46080 requested and 25568 written")

    with pytest.raises(ValueError, match="46080"):
        write_whole(tmp_path / "a.npy", write)
    monkeypatch.setattr(files, "_free_bytes", lambda path: 0.0)
    with pytest.raises(OutputError, match="Free some space"):
        write_whole(tmp_path / "a.npy", write)


def test_a_place_where_nothing_may_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "page.html", tmp_path / "file" / "deeper" / "page.html"):
        with pytest.raises(OutputError, match="Name another place"):
            check_writable(path)
        with pytest.raises(OSError, match="cannot be written"):
            write_text_whole(path, "")
    check_writable(tmp_path / "new" / "page.html")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_weights_of_an_encoder_that_are_cut_short_name_the_folder(tmp_path: Path) -> None:
    from marrow.weights import shipped_folder

    shipped = shipped_folder("general")
    assert shipped is not None
    for file in shipped.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes()[: 3000 if file.suffix == ".safetensors" else None])
    with pytest.raises(CheckpointError) as caught:
        load_encoder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(MarrowError, match="is a file"):
        load_encoder(shipped / "encoder.json")


def test_a_path_that_goes_astray_is_put_right_as_far_as_it_exists(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "stores" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for wrong, right in (
        ("stores/mien", "stores/mine"),
        ("store/mine", "stores/mine"),
        ("store/other", "stores"),
        (tmp_path / "stores" / "mines", tmp_path / "stores" / "mine"),
    ):
        with pytest.raises(DataError, match=f"no {wrong}. Did you mean '{right}'"):
            check_exists(Path(wrong), "a store")
    for path in ("stores/zzz", "zzz/mine"):
        with pytest.raises(DataError, match=f"there is no {path}$"):
            check_exists(Path(path), "a store")
    check_exists(Path("stores/mine"), "a store")
