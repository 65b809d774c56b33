"""Steps as one graph: fixed shapes, no number that the host has to read, and the same losses as one by one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from real_runs import TORCHRUN
from toy_trainable import ListLoader, Toy

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.models.trainable import StepOutput
from marrow.objectives import OBJECTIVES
from marrow.train import compiled, loop
from marrow.train.compiled import choose_compile
from marrow.train.device import make_fabric
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.optim import Budget, OptimizerConfig, optimizer_of


def _ask(what: str, folder: Path, launcher: tuple[str, ...] = (sys.executable,)) -> dict[str, Any]:
    script = Path(__file__).with_name("one_graph.py")
    done = subprocess.run([*launcher, str(script), what, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_every_method_is_one_graph_per_size_for_twenty_batches(tmp_path: Path) -> None:
    said = _ask("graphs", tmp_path)
    assert said.keys() == {*OBJECTIVES, "hi_trs at recorded pace"}
    for name, found in said.items():
        assert (found["sizes"], found["graphs"], found["breaks"]) == (2, 2, 0), name
        assert found["worst"] < 1e-6, name


@pytest.mark.slow
def test_runs_are_the_same_compiled_in_pieces_and_half_and_half(tmp_path: Path) -> None:
    said = _ask("runs", tmp_path)
    assert said.keys() == OBJECTIVES.keys()
    for name, runs in said.items():
        assert len(runs) >= 4
        for how, losses in runs.items():
            assert losses == pytest.approx(runs["eager"], rel=1e-6), f"{name}: {how}"


@pytest.mark.slow
def test_two_processes_are_compiled_each(tmp_path: Path) -> None:
    alone = _ask("shared", tmp_path)
    several = _ask("shared", tmp_path, (*TORCHRUN, "--nproc_per_node=2"))
    assert several["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert (alone["graphs"], several["graphs"]) == (0, 1)


@pytest.mark.slow
def test_fine_tuning_is_the_same_compiled(tmp_path: Path) -> None:
    said = _ask("finetune", tmp_path)
    for name, found in said.items():
        assert len(found["on"]) == 2
        assert found["on"] == pytest.approx(found["off"], rel=1e-5), name
        assert found["graphs"] == 1, name


@pytest.mark.slow
def test_trainings_inside_tasks_are_the_same_compiled(tmp_path: Path) -> None:
    said = _ask("tasks", tmp_path)
    assert {name.split(":")[0] for name in said} == {"detection", "prediction"}
    for name, found in said.items():
        assert len(found["on"]) == 6
        assert found["on"] == pytest.approx(found["off"], rel=1e-6), name
        assert (found["sizes"], found["graphs"], found["breaks"]) == (2, 2, 0), name


@pytest.mark.slow
@pytest.mark.skipif(not choose_compile("on", "cpu", None).compiled, reason="no C++ compiler here")
def test_every_method_compiles_for_this_processor(tmp_path: Path) -> None:
    said = _ask("inductor", tmp_path)
    assert said.keys() == {*OBJECTIVES, "detection: hierarchical", "prediction: patches", "prediction: frames"}
    assert max(said.values()) < 1e-5, said


@pytest.mark.slow
def test_no_step_needs_a_number_on_the_host(tmp_path: Path) -> None:
    said = _ask("fake", tmp_path)
    assert [said[name] for name in said if name.startswith(("detection", "prediction"))] == 8 * [[]]
    for name in OBJECTIVES:
        assert said[f"{name} fp32"] == said[f"{name} bf16"] == []


def test_draws_of_a_step_that_is_a_tensor_are_the_same() -> None:
    index = torch.arange(5)
    for step in (0, 1, 125_199):
        of_number, of_tensor = (Draws(3, each, index) for each in (step, torch.tensor(step)))
        assert torch.equal(of_number.uniform("hidden", 7, 2), of_tensor.uniform("hidden", 7, 2))
        assert torch.equal(of_number.key("dropout"), of_tensor.key("dropout"))


@pytest.mark.parametrize(
    ("asked", "compiled", "captured"),
    [
        (("off", "cuda", 10**6), False, False),
        (("on", "cpu", 10), True, False),
        (("auto", "cpu", 10**6), False, False),
        (("on", "cuda", 10), True, True),
        (("auto", "cuda", 10**6), True, True),
        (("auto", "cuda", None), True, True),
        (("auto", "cuda", 100), False, True),  # a minute of compiling is not worth it, a recording is
        (("auto", "cuda", 10**6, 2), True, False),
        (("on", "mps", 100), False, False),
    ],
)
def test_what_is_compiled_and_captured(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[Any, ...], compiled: bool, captured: bool
) -> None:
    monkeypatch.setattr("marrow.train.compiled.shutil.which", lambda _: "/usr/bin/g++")
    monkeypatch.setattr("marrow.train.compiled.importlib.util.find_spec", lambda _: object())
    choice = choose_compile(*asked)
    assert (choice.compiled, choice.captured) == (compiled, captured)
    assert choice.fixed == (compiled or captured)


def test_sharded_weights_are_not_compiled() -> None:
    choice = choose_compile("on", "cuda", 100, 2, sharded=True)
    assert not choice.fixed
    assert "fsdp" in choice.reason


def test_without_a_compiler_a_run_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    assert "no C++ compiler 'g++'" in choose_compile("on", "cpu", 100).reason
    assert "triton is missing" in choose_compile("on", "cuda", 100).reason


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("marrow.train.compiled.shutil.which", lambda _: "/usr/bin/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    choice = choose_compile("on", "cpu", 100)
    assert not choice.fixed
    assert f"{tmp_path / 'file' / 'cache'} cannot be written to (Not a directory" in choice.reason


class Refused(torch.nn.Module):
    """A graph that fails: in the forward or in the backward pass."""

    def __init__(self, toy: Toy, where: str) -> None:
        super().__init__()
        self.toy, self.where = toy, where

    def forward(self, batch: Batch, draws: Draws) -> StepOutput:
        if self.where == "forward":
            raise RuntimeError("\nthis cannot be traced\nmore of it")
        output = self.toy(batch, self.toy.sample(batch, draws))
        return StepOutput(_Fails.apply(output.loss_sum), output.weight, output.metrics)


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        raise RuntimeError("this cannot be traced")


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_what_cannot_be_compiled_goes_on_one_operation_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    monkeypatch.setattr(loop, "one_graph", lambda trainable: Refused(trainable, where))
    losses = [_losses(tmp_path / str(is_compiled), is_compiled) for is_compiled in (False, True)]
    assert losses[0] == losses[1]
    assert [record.getMessage() for record in caplog.records if "compiled" in record.getMessage()] == [
        "Steps are not compiled from here on, for that failed: RuntimeError: this cannot be traced"
    ]


def test_what_fails_once_a_graph_is_there_is_no_fault_of_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Refused):
        steps = 0

        def forward(self, batch: Batch, draws: Draws) -> StepOutput:
            self.steps += 1
            if self.steps == 3:
                raise RuntimeError("something else")
            return self.toy(batch, self.toy.sample(batch, draws))

    monkeypatch.setattr(loop, "one_graph", lambda trainable: Late(trainable, ""))
    with pytest.raises(RuntimeError, match="something else"):
        _losses(tmp_path, True)


def _losses(folder: Path, is_compiled: bool) -> list[float]:
    fabric, _ = make_fabric("cpu", "fp32")
    fabric.launch()
    toy = Toy()
    config = FitConfig(Budget(5), log_every=1, compiled=is_compiled)
    fit(fabric, toy, optimizer_of(toy, OptimizerConfig()), ListLoader(micro_batches=2), lambda _: 1e-2, config, folder)
    return [entry["loss"] for entry in read_log(folder / "log.jsonl")]
