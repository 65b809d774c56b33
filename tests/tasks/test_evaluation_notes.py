"""What is said of scores beside them."""

import pytest

from marrow.data.subsets import protocol_rows
from marrow.tasks.base import Report, TaskData
from marrow.tasks.evaluation_notes import notes_of_protocol, notes_of_tasks
from marrow.tasks.evaluation_report import RunFacts


def report(task, names, **settings):
    return Report(task, {}, predictions={name: [0] for name in names}, noted=settings, seed=3)


def test_the_best_epoch_is_spoken_of_where_there_is_one():
    told = "The best epoch is chosen in each fold apart."
    assert notes_of_tasks([report("knn", ["top1"]), report("finetune", ["top1_last", "top1_best"])], 2) == [told]
    assert notes_of_tasks([report("knn", ["top1"])], 2) == []
    assert notes_of_tasks([report("finetune", ["top1_last", "top1_best"])], 1) == []


def test_notes_of_tasks_say_whose_they_are():
    (note,) = notes_of_tasks([report("finetune", ["top1"], note="Trained for 3 steps.")], 2)
    assert note == "finetune (trained, seed 3, first fold): Trained for 3 steps."


def notes_for(store, stores):
    """Return what is said of scores on a store, of an encoder that was pre-trained on some."""
    folds = [TaskData(store, *protocol_rows(store, "xview"), protocol="xview")]
    run = RunFacts("general", 0, {"provenance": {"settings": {}, "stores": stores}}, "f")
    return notes_of_protocol(folds, folds[0].test_clips(), None, [run], store)


@pytest.mark.parametrize(("rows", "seen"), [("all", 12), ("xview/test", 12), ("subject=1", 3)])
def test_of_several_stores_that_a_pretraining_saw_the_scored_one_is_found(small_store, rows, seen):
    """Of the 12 test clips of `xview`, three are of each of four subjects."""
    others = {"name": "cmu", "fingerprint": "0", "rows": "all"}
    stores = [others, {"name": "small", "fingerprint": small_store.fingerprint, "rows": rows}]
    [note] = [note for note in notes_for(small_store, stores) if "re-train" in note]
    assert f"{seen} of the 12 test clips" in note


def test_of_a_store_that_a_pretraining_never_saw_the_others_are_named(small_store):
    stores = [{"name": name, "fingerprint": "0", "rows": "all"} for name in ("cmu", "ui_prmd")]
    assert any("other stores: cmu, ui_prmd" in note for note in notes_for(small_store, stores))
