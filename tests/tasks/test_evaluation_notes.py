"""What is said of scores beside them."""

from marrow.tasks.base import Report
from marrow.tasks.evaluation_notes import notes_of_tasks


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
