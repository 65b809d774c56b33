"""The command that repeats an evaluation, read again by the command line itself."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marrow.cli import pretrain as pretraining
from marrow.cli.arguments import transfer_of
from marrow.cli.evaluate import build_parser, task_configs
from marrow.data.pool import StoreChoice
from marrow.pretrain_config import PretrainConfig, config_of
from marrow.report.figures import Figures
from marrow.report.repeat import evaluate_commands, pretrain_command, pretrain_commands
from marrow.report.runs import experiments, read_runs
from marrow.report.training import training_html
from marrow.tasks import TASKS as KNOWN_TASKS
from marrow.tasks.base import Quick
from marrow.train.run_directory import plain

# Tasks with settings are dataclasses with a field `config`, which the protocol of tasks does not know of.
TASKS: dict[str, Any] = {**KNOWN_TASKS}


def parsed(command):
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["marrow", "evaluate"]
    return build_parser(words[2:]).parse_args(words[2:])


def sized(task: Any, quick: bool) -> Any:
    """Return a task as it was run."""
    return task.quick() if quick and isinstance(task, Quick) else task


def edited(folder, change):
    path = folder / "reports" / "xview.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return folder


def with_task(values, name, asked, **settings):
    """Put a report of a task into an evaluation, with what was asked of it."""
    first = values["reports"][0]
    added = {**first, "task": name, "settings": {**settings, "asked": asked}}
    # As version 1 had it: neither task nor numbers say what they are, and all settings are in one.
    newer = ("declared", "quantities", "asked", "cost", "noted")
    values["reports"].append({name: value for name, value in added.items() if name not in newer})


def pretrain_settings(command: str) -> dict[str, Any]:
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["marrow", "pretrain"]
    parser = pretraining.build_parser(words[2:])
    return plain(config_of(parser, parser.parse_args(words[2:])))


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_steps": 60},
        {"max_steps": 60, "ends_at_epochs": False},
        {"epochs": 7, "max_minutes": 2.0},
        {"epochs": 7, "max_minutes": 2.0, "ends_at_epochs": False},
    ],
)
def test_limits_of_a_pre_training_come_back(limits):
    settings = plain(PretrainConfig(Path("s"), Path("o"), **limits))
    assert pretrain_settings(pretrain_command(settings)) == settings


def test_an_extended_run_is_made_by_two_commands_and_said_to_be(make_run):
    folder = make_run("a1", 1)
    starts = json.loads((folder / "environment.json").read_text())
    before = {"epochs": 400, "ends_at_epochs": True, "max_steps": None, "max_minutes": None, "max_cpu_seconds": 30.0}
    starts.append({**starts[0], "extension": {"from_step": 2, "limits_before": before}})
    (folder / "environment.json").write_text(json.dumps(starts))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    log[-1]["extended_from_step"] = 2
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    (run,) = read_runs([folder])
    first, second = pretrain_commands(run)
    assert "--max_cpu_seconds 30.0" in first
    assert first.endswith("# ended, or was stopped, at step 2")
    assert "--max_cpu_seconds 60.0" in second
    page = training_html([run], Figures())
    assert "a1 went on under other limits at step 2. Its learning rate follows them from there" in page
    assert "Extended from step" not in page  # no curve of it


def test_an_extended_run_is_no_seed_of_one_that_was_not(make_run):
    folders = [make_run("a1", 1), make_run("a2", 2)]
    assert len(experiments(read_runs(folders))) == 1
    description = json.loads((folders[1] / "reports" / "xview.json").read_text())
    for run in description["runs"]:
        run["description"]["provenance"]["extended_at_steps"] = [2]
    (folders[1] / "reports" / "xview.json").write_text(json.dumps(description))
    assert len(experiments(read_runs(folders))) == 2


def test_defaults_are_not_named(make_run):
    folders = [make_run("a1", 1), make_run("a2", 2)]
    [command] = evaluate_commands(read_runs(folders))
    known = "--store stores/x --protocol xview --tasks linear_probe,knn --baselines random,raw"
    said = " ".join(["marrow evaluate", *(shlex.quote(str(folder)) for folder in folders), known])
    assert command.replace(" \\\n    ", " ") == said


@pytest.mark.parametrize("quick", [False, True])
def test_settings_of_tasks_come_back(make_run, quick):
    finetune, few = TASKS["semi_supervised"].config, TASKS["few_shot"].config
    tasks = {
        "semi_supervised": replace(
            TASKS["semi_supervised"],
            config=replace(
                finetune,
                fractions=(0.02, 0.3, 0.5),
                label_seed=3,
                finetune=replace(
                    finetune.finetune, layer_decay=0.5, optimizer=replace(finetune.finetune.optimizer, weight_decay=0.5)
                ),
            ),
        ),
        "few_shot": replace(TASKS["few_shot"], config=replace(few, shots=(3, 4, 7))),
        "retrieval": TASKS["retrieval"],
    }
    asked = {name: plain(sized(task, quick).config) for name, task in tasks.items()}

    def change(values):
        # A report over draws leaves out what the other readout would have needed.
        of_semi = {name: value for name, value in asked["semi_supervised"].items() if name != "linear"}
        with_task(values, "semi_supervised/2 %", of_semi)
        with_task(values, "few_shot_logistic/3 per class", asked["few_shot"])
        with_task(values, "few_shot_nearest_mean/3 per class", asked["few_shot"])
        with_task(values, "retrieval/pooled", asked["retrieval"])
        values["settings"] |= {"quick": quick}

    [command] = evaluate_commands(read_runs([edited(make_run("a", 1), change)]))
    arguments = parsed(command)
    assert arguments.tasks == "linear_probe,knn,semi_supervised,few_shot,retrieval"
    assert arguments.quick == quick
    assert "--retrieval." not in command
    assert "--semi_supervised.draws" not in command, "it follows from --quick"
    for name, config in task_configs(arguments).items():
        again = sized(replace(TASKS[name], config=config), quick)
        assert plain(again.config) == asked[name], name


@pytest.mark.parametrize("transfer", [False, True, {"Head": "head", "Tail": None}])
def test_copies_and_other_skeletons_come_back(make_run, transfer):
    def change(values):
        values["protocol"] = "xview, without 95 test copies"
        values["settings"] |= {"asked_protocol": "xview", "drop_duplicates": "test", "transfer": transfer}
        values["settings"] |= {"near_copies": 3, "precision": "fp32", "probe_seed": 7}

    arguments = parsed(evaluate_commands(read_runs([edited(make_run("a", 1), change)]))[0])
    assert (arguments.protocol, arguments.drop_duplicates) == ("xview", "test")
    assert transfer_of(arguments) == transfer
    assert (arguments.precision, arguments.seed, arguments.quick) == ("fp32", 7, False)


def test_runs_that_were_scored_in_different_ways_have_commands_of_their_own(make_run):
    folders = [make_run("a1", 1), make_run("a2", 2)]
    edited(folders[1], lambda values: values["settings"].update(quick=True))
    first, second = (parsed(command) for command in evaluate_commands(read_runs(folders)))
    assert ([str(run) for run in first.runs], first.quick) == ([str(folders[0])], False)
    assert ([str(run) for run in second.runs], second.quick) == ([str(folders[1])], True)


@pytest.mark.parametrize("joints", [{}, {"left elbow": "MyElbow"}])
def test_a_run_over_several_stores_is_repeated_over_the_same(joints):
    stores = (
        StoreChoice("nw", Path("stores/nw ucla"), "view=1,2 & subject!=3", 2.5),
        StoreChoice("ut", Path("s/ut"), "leave-one-out:subject=3/train", joints=joints),
    )
    settings = plain(PretrainConfig(None, Path("runs/pool"), method="amr", stores=stores, piece_seconds=6.0))
    words = shlex.split(pretrain_command(settings).replace("\\\n", " "))
    assert "None" not in words
    again = pretraining.rewritten(words[2:])
    parser = pretraining.build_parser(again)
    assert plain(config_of(parser, parser.parse_args(again))) == settings
