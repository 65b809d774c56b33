import gc
import json
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.multiprocessing
from toy_trainable import ListLoader, Toy, ToyDraw

from marrow.data.batch import Batch
from marrow.errors import CheckpointError, MarrowError
from marrow.models.trainable import StepOutput
from marrow.train import interrupt, logs, loop
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.device import make_fabric
from marrow.train.logs import Display, read_log
from marrow.train.loop import FitConfig, FitResult, fit
from marrow.train.optim import Budget, OptimizerConfig, optimizer_of, rise_and_fall


def _rate(progress: float) -> float:
    return rise_and_fall(progress, 1e-2, 1e-3, 0.2)


def _fit(
    folder: Path,
    loader: ListLoader,
    *,
    steps: int = 10,
    budget: Budget | None = None,
    checkpoints: CheckpointConfig | None = None,
    clip_norm: float | None = None,
    log_every: int = 3,
    precision: str = "fp32",
    monitor: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    processes: int = 1,
) -> tuple[Toy, FitResult]:
    fabric, _ = make_fabric("cpu", precision, processes=processes)  # pyright: ignore[reportArgumentType]
    fabric.launch()
    toy = Toy()
    config = FitConfig(budget or Budget(steps), checkpoints or CheckpointConfig(), clip_norm, log_every)
    result = fit(fabric, toy, optimizer_of(toy, OptimizerConfig()), loader, _rate, config, folder, monitor)
    return toy, result


def _same(left: Toy, right: Toy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


def _interrupt_at(step: int) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Send this process SIGTERM while it works on the given step, as a scheduler does."""

    def monitor(entry: dict[str, Any]) -> dict[str, float]:
        if entry["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    return monitor


def test_ten_steps_are_five_and_a_resume_of_five_bitwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, whole_result = _fit(tmp_path / "whole", ListLoader())
    with caplog.at_level(logging.INFO):
        halves, first = _fit(tmp_path / "halves", ListLoader(), monitor=_interrupt_at(4), log_every=4)
        assert not _same(whole, halves)
        assert (first.step, first.finished) == (5, False)
        assert "Interrupted after step 5" in caplog.text
        halves, second = _fit(tmp_path / "halves", ListLoader())
        assert "Going on after step 5" in caplog.text
    assert _same(whole, halves)
    assert (second.step, second.finished) == (whole_result.step, True) == (10, True)
    assert second.last["loss"] == whole_result.last["loss"]
    assert [entry["step"] for entry in read_log(tmp_path / "halves" / "log.jsonl")] == [4, 5, 6, 9, 10]


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    trained, _ = _fit(tmp_path, ListLoader())
    again, result = _fit(tmp_path, ListLoader())
    assert _same(trained, again)
    assert result == FitResult(10, True, {})


def test_one_batch_of_eight_is_four_of_two(tmp_path: Path) -> None:
    whole, _ = _fit(tmp_path / "1x8", ListLoader(micro_batches=1))
    pieces, _ = _fit(tmp_path / "4x2", ListLoader(micro_batches=4))
    for one, four in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one, four, rtol=1e-5, atol=1e-5)
    one, four = (read_log(tmp_path / name / "log.jsonl") for name in ("1x8", "4x2"))
    assert [entry["loss"] for entry in one] == pytest.approx([entry["loss"] for entry in four], rel=1e-5)


def test_the_first_gradient_is_that_of_the_mean_over_all_that_counts(tmp_path: Path) -> None:
    toy, loader = Toy(), ListLoader()
    (batch, draws), *_ = loader.next_step()
    output = toy(batch, toy.sample(batch, draws))
    (output.loss_sum / output.weight).backward()
    norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in toy.parameters()))  # pyright: ignore
    for micro_batches in (1, 4):
        _fit(tmp_path / str(micro_batches), ListLoader(micro_batches), log_every=1)
        first = read_log(tmp_path / str(micro_batches) / "log.jsonl")[0]
        assert first["gradient_norm"] == pytest.approx(norm, rel=1e-5)
        assert first["loss"] == pytest.approx((output.loss_sum / output.weight).item(), rel=1e-5)
        assert first["loss_of_mean"] == pytest.approx((output.metrics["loss_of_mean"] / output.weight).item())
        assert first["learning_rate"] == 0.0


def test_it_learns(tmp_path: Path) -> None:
    _fit(tmp_path, ListLoader(), steps=150)
    log = read_log(tmp_path / "log.jsonl")
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert log[-1]["epoch"] == 150 / 4
    assert log[-1]["progress"] == 1.0


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    free, _ = _fit(tmp_path / "free", ListLoader())
    bounded, result = _fit(tmp_path / "bounded", ListLoader(), clip_norm=1e-3)
    assert result.last["gradient_norm"] > 1e-3  # the log shows the norm before clipping
    assert not _same(free, bounded)


def test_a_loss_that_is_not_finite_names_step_rate_and_rows(tmp_path: Path) -> None:
    with pytest.raises(MarrowError, match=r"step 5: .*nan.*learning rate 0\.00\d+.*rows of the store: \[8, 9, .*15\]"):
        _fit(tmp_path, ListLoader(poisoned_step=5), checkpoints=CheckpointConfig(every_steps=4))
    _, result = _fit(tmp_path, ListLoader())  # the checkpoint before it is sound
    assert (result.step, result.finished) == (10, True)


def test_a_batch_in_which_nothing_counts_is_an_error(tmp_path: Path) -> None:
    loader = ListLoader()
    loader.present[:] = False
    with pytest.raises(MarrowError, match=r"step 0: .* over 0 targets"):
        _fit(tmp_path, loader)


def test_a_run_limited_by_time_ends_at_its_smallest_rate_and_its_clock_survives(tmp_path: Path) -> None:
    budget = Budget(10**6, cpu_seconds=0.5)
    _, first = _fit(tmp_path, ListLoader(), budget=budget, monitor=_interrupt_at(30))
    assert not first.finished
    spent = first.last["cpu_seconds"]
    assert 0 < spent < 0.5
    _, second = _fit(tmp_path, ListLoader(), budget=budget, log_every=1)
    assert second.finished
    assert second.step > first.step
    log = read_log(tmp_path / "log.jsonl")
    times = [entry["cpu_seconds"] for entry in log]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(0.5, abs=0.2)
    assert log[-1]["progress"] == 1.0
    assert log[-1]["learning_rate"] == pytest.approx(1e-3, rel=0.05)


def test_lines_of_a_lost_future_leave_the_log(tmp_path: Path) -> None:
    _fit(tmp_path, ListLoader(), monitor=_interrupt_at(6))
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + json.dumps({"step": 9, "loss": 1.0}) + '\n{"step": 12, "lo')
    _fit(tmp_path, ListLoader())
    assert [entry["step"] for entry in read_log(log)] == [3, 6, 7, 9, 10]
    assert all("clips_per_second" in entry for entry in read_log(log))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path, ListLoader())
    state = tmp_path / "checkpoints"
    for path in state.iterdir():
        path.rename(path.with_name(path.name.replace("10", "08")))
    from marrow.train import checkpoint

    saved = checkpoint.load_latest(state)
    assert saved is not None
    saved["trainable"]["layers.0.weight"] = torch.zeros(3, 3)
    checkpoint.save(state, 9, saved, CheckpointConfig())
    with pytest.raises(CheckpointError, match="another network"):
        _fit(tmp_path, ListLoader())


def test_signals_are_as_before_afterwards_and_threads_may_train(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    _fit(tmp_path / "main", ListLoader())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    results: list[FitResult] = []
    thread = threading.Thread(target=lambda: results.append(_fit(tmp_path / "thread", ListLoader())[1]))
    thread.start()
    thread.join()
    assert results[0].finished


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that goes a millisecond at a look: on a busy machine ten seconds may pass, and more lines come.
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) / 1000.0, process_time=lambda: next(ticks) / 1000.0)
    monkeypatch.setattr(logs, "time", clock)
    monkeypatch.setattr(loop, "time", clock)
    with caplog.at_level(logging.INFO):
        _fit(tmp_path, ListLoader())
    lines = [record.getMessage() for record in caplog.records if record.name == "marrow.train.logs"]
    assert len(lines) == 1  # at most one in ten seconds
    assert "step 3 · epoch 0.8 · loss" in lines[0]
    assert "left" in lines[0]


class Slow(Toy):
    """Takes long over one of its steps, in which somebody presses Ctrl-C."""

    def __init__(self, slow_step: int) -> None:
        super().__init__()
        self.slow_step, self.steps = slow_step, 0

    def forward(self, batch: Batch, draw: ToyDraw) -> StepOutput:
        self.steps += 1
        if self.steps == self.slow_step:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100):
                time.sleep(0.01)
            raise AssertionError("the step was not broken off")
        return super().forward(batch, draw)


def _fit_slowly(folder: Path, loader: ListLoader, slow_step: int) -> FitResult:
    fabric, _ = make_fabric("cpu", "fp32")
    fabric.launch()
    slow = Slow(slow_step)
    return fit(
        fabric, slow, optimizer_of(slow, OptimizerConfig()), loader, _rate, FitConfig(Budget(10), log_every=3), folder
    )


def test_a_long_step_is_broken_off_and_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two micro-batches of the fifth step: what the first has left behind is gone."""
    whole, _ = _fit(tmp_path / "whole", ListLoader(micro_batches=2))
    monkeypatch.setattr(interrupt, "_LONG_SECONDS", 0.0)
    loader = ListLoader(micro_batches=2)
    result = _fit_slowly(tmp_path / "halves", loader, slow_step=10)
    assert (result.finished, result.step, loader.position) == (False, 4, 4)
    rest, _ = _fit(tmp_path / "halves", ListLoader(micro_batches=2))
    assert _same(whole, rest)
    assert [entry["step"] for entry in read_log(tmp_path / "halves" / "log.jsonl")] == [3, 4, 6, 9, 10]


def test_the_very_first_step_is_broken_off_whatever_it_would_take(tmp_path: Path) -> None:
    result = _fit_slowly(tmp_path, ListLoader(), slow_step=1)
    assert (result.finished, result.step, result.last) == (False, 0, {})
    assert not (tmp_path / "checkpoints").exists()
    assert _fit(tmp_path, ListLoader())[1].step == 10


def test_a_broken_off_step_behind_an_entry_of_the_log_saves_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "_LONG_SECONDS", 0.0)
    result = _fit_slowly(tmp_path, ListLoader(), slow_step=4)
    assert (result.step, result.last["step"]) == (3, 3)
    assert load_latest(tmp_path / "checkpoints")["step"] == 3


def _estimates(budget: Budget, advice: str, pace: list[tuple[int, float, float]]) -> None:
    display = Display(budget, (0, 0.0, 0.0), advice, shown=True)
    for spent in pace:
        display.step_done(spent)


def test_after_a_few_steps_a_run_says_how_long_it_will_take(caplog: pytest.LogCaptureFixture) -> None:
    # The first step took 5 s, the next three 2 s each: 996 steps are left, 33 min 12 s.
    with caplog.at_level(logging.INFO):
        _estimates(Budget(1000), "Use a recipe.", [(step, 3.0 + 2.0 * step, 1.0) for step in range(1, 8)])
    assert [record.getMessage() for record in caplog.records] == ["A step takes 2 s: about 33 min 12 s left"]


def test_where_a_run_takes_hours_it_gives_advice(caplog: pytest.LogCaptureFixture) -> None:
    # A first step of 60 s is as good as any: 1,499 more take 24 h 59 min.
    with caplog.at_level(logging.INFO):
        _estimates(Budget(1500), "Use a recipe.", [(1, 60.0, 60.0), (2, 120.0, 120.0)])
    assert [record.getMessage() for record in caplog.records] == [
        "A step takes 60 s: about 24 h 59 min left. Use a recipe."
    ]


def test_short_runs_need_no_estimate(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _estimates(Budget(20), "", [(step, 0.1 * step, 0.1 * step) for step in range(1, 8)])
    assert not caplog.records


def test_bf16_trains(tmp_path: Path) -> None:
    toy, result = _fit(tmp_path, ListLoader(), precision="bf16")
    assert result.finished
    assert all(parameter.dtype == torch.float32 for parameter in toy.parameters())


def _one_of_two(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    torch.set_num_threads(1)
    toy, _ = _fit(Path(folder), ListLoader(micro_batches=2, rank=rank, world_size=2))
    torch.save(toy.state_dict(), Path(folder) / f"rank{rank}.pt")
    # The second of two machines that do not share the folder finds no checkpoint where the first finds one.
    sees = Path(folder) if rank == 0 else Path(folder) / "elsewhere"
    said = ""
    try:
        _fit(sees, ListLoader(micro_batches=2, rank=rank, world_size=2))
    except CheckpointError as error:
        said = str(error)
    assert ("step 0 there, the first process one of step 10" in said) == (rank == 1)
    # What still holds the group goes first, and neither leaves while the other is in it.
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_are_one_with_the_same_global_batch_and_must_see_the_same_folder(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_one_of_two, (port, str(tmp_path)), nprocs=2)
    alone, _ = _fit(tmp_path / "alone", ListLoader())
    for rank in (0, 1):
        for name, weight in torch.load(tmp_path / f"rank{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(weight, alone.state_dict()[name], rtol=1e-5, atol=1e-5)
    together, apart = read_log(tmp_path / "log.jsonl"), read_log(tmp_path / "alone" / "log.jsonl")
    assert [entry["loss"] for entry in together] == pytest.approx([entry["loss"] for entry in apart], rel=1e-5)
