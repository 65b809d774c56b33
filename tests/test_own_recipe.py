"""The recipe for one's own recordings, on 4 clips and on 30: steps take what there is, and a run can be resumed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from marrow.cli.main import parse_command
from marrow.cli.pretrain import settings_of
from marrow.errors import ConfigError
from marrow.models.export import load_encoder
from marrow.pretrain_config import with_batch_size
from marrow.pretraining import pretrain
from marrow.store.format import Store
from marrow.store.memory import write_store
from small_pretraining import make_walks

SMALL = "--encoder.width 8 --encoder.depth 1 --encoder.heads 2 --encoder.summary_blocks [1]"
SMALL += " --objective.decoder_width 8 --objective.decoder_heads 2"


def own(store: Path, out: Path, *words: str):
    given = ["--recipe", "own", "--store", str(store), "--out", str(out), *SMALL.split(), *words]
    return settings_of(parse_command("pretrain", given))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory):
    """Make stores of a number of clips, out of 24 walks one after the other."""
    folder = tmp_path_factory.mktemp("own")
    walks = Store.open(make_walks(folder / "walks"))

    def store_of(count: int) -> Path:
        path = folder / f"store{count}"
        if not path.exists():
            made = [walks.sequence(row % len(walks)) for row in range(count)]
            named = [replace(walk, record=replace(walk.record, id=f"clip{row}")) for row, walk in enumerate(made)]
            write_store(path, named, source="own", classes=walks.classes)
        return path

    return store_of


def test_a_step_takes_64_clips_or_what_there_is(clips, tmp_path: Path) -> None:
    config = own(clips(4), tmp_path / "run")
    sizes = {count: with_batch_size(config, count, 1).batch_clips for count in (1, 4, 30, 64, 65, 30_000)}
    assert sizes == {1: 1, 4: 4, 30: 30, 64: 64, 65: 64, 30_000: 64}
    # Three processes share a step evenly: 30 = 3 x 10, and 63 = 3 x 21 are at most 64.
    assert [with_batch_size(config, count, 3).batch_clips for count in (30, 31, 100)] == [30, 30, 63]
    with pytest.raises(ConfigError, match=r"3 pieces.*2 clips"):
        with_batch_size(config, 2, 3)


@pytest.mark.parametrize("count", [4, 30])
def test_the_size_of_a_step_is_settled_in_the_run(clips, tmp_path: Path, count: int) -> None:
    run = pretrain(own(clips(count), tmp_path / "run", "--max_steps", "2"))
    assert run.finished
    assert run.last["epoch"] == 2.0, "a step takes all clips"
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["batch_clips"] == count
    # The same command finds the run finished, and does nothing.
    assert pretrain(own(clips(count), tmp_path / "run", "--max_steps", "2")).last == run.last


def test_a_run_that_was_stopped_ends_with_the_same_weights(clips, tmp_path: Path) -> None:
    whole = pretrain(own(clips(4), tmp_path / "whole", "--max_steps", "4", "--checkpoints.every_steps", "2"))
    pretrain(own(clips(4), tmp_path / "stopped", "--max_steps", "4", "--checkpoints.every_steps", "2"))
    # As if it had been killed after its second step.
    for name in ("result.json", "checkpoints/step-00000004.pt", "checkpoints/step-00000004.json"):
        (tmp_path / "stopped" / name).unlink()
    again = pretrain(own(clips(4), tmp_path / "stopped", "--max_steps", "4", "--checkpoints.every_steps", "2"))
    for one, other in zip(
        load_encoder(whole.folder).parameters(), load_encoder(again.folder).parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_other_recipes_say_what_to_do_where_there_are_few_clips(clips, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"32 .* 4 clips .*--batch_clips auto"):
        pretrain(own(clips(4), tmp_path / "run", "--batch_clips", "32"))
