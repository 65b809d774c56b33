"""Whole steps recorded once and replayed: the same losses, on a recorder that repeats what a CUDA graph would."""

import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from one_graph import AUGMENT, TRAININGS, encoders, walks
from tape import Tape
from test_conformance_objectives import SMALL

from marrow.data import gather as gathering
from marrow.data.batch import FixedShapes
from marrow.data.frames import flat_frames
from marrow.data.gather import gather_tensor
from marrow.data.sampling import resident_batches
from marrow.data.window import Windows
from marrow.objectives import OBJECTIVES
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import pretrain
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.recognition.finetune import finetune_in
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train import loop
from marrow.train.captured import CapturedCall, CudaGraphs
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.compiled import CompileChoice
from marrow.train.interrupt import BrokenOff
from marrow.train.logs import read_log
from marrow.train.optim import OptimizerConfig, ScheduleConfig
from marrow.train.step import Stepper

EAGER, CAPTURED = CompileChoice(False, False, "eagerly"), CompileChoice(False, True, "captured")


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    """Let this CPU pass for a device that records; windows are cut as on a GPU, by operations."""
    tape = Tape()
    monkeypatch.setattr(loop, "CudaGraphs", lambda _: tape)

    def gather(frames: Any, clips: Any, start: Any, length: Any, window: int, aligning: Any, count: Any) -> Any:
        return gather_tensor(frames, clips, Windows(start, length), window, aligning, count)

    monkeypatch.setattr(gathering, "gather_fused", gather)
    return tape


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[CompileChoice], None]:
    """Return what decides for the runs that follow."""

    def decide(choice: CompileChoice) -> None:
        for module in ("marrow.pretraining", "marrow.tasks.one_go"):
            monkeypatch.setattr(sys.modules[module], "choose_compile", lambda *_, **__: choice)

    return decide


def settings(folder: Path, method: str) -> PretrainConfig:
    """Return twelve steps of a small network, whose learning rate changes and whose gradients are clipped."""
    objective = SMALL[method]()
    return PretrainConfig(
        store=walks(folder / "store").path,
        out=folder / "eager",
        method=method,
        objective=objective.config,
        encoder=objective.encoder.config,
        input=replace(objective.encoder.input, window_frames=16),
        augment=AUGMENT,
        optimizer=OptimizerConfig(clip_norm=0.5),
        schedule=ScheduleConfig(1.0, 0.0),
        checkpoints=CheckpointConfig(every_steps=6, keep_last=9),
        batch_clips=8,
        max_steps=12,
        ends_at_epochs=False,
        device="cpu",
        precision="fp32",
        log_every=3,
    )


def losses(config: PretrainConfig) -> list[float]:
    """Train, and return what the log says."""
    result = pretrain(config)
    return [entry["loss"] for entry in read_log(result.folder / "log.jsonl")]


def two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps come in two sizes: 8 clips, one in five of which has two bodies, fit 9 rows or do not."""

    def nine(self: FixedShapes, *given: Any, **named: Any) -> None:
        initialise(self, *given, **named)
        self.usual = replace(self.usual, bodies=9)

    initialise = FixedShapes.__init__
    monkeypatch.setattr(FixedShapes, "__init__", nine)


@pytest.mark.parametrize("method", OBJECTIVES)
def test_replayed_steps_are_those_of_a_run_without(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None], method: str
) -> None:
    config = settings(tmp_path, method)
    choose(EAGER)
    expected = losses(config)
    assert len(set(expected)) == 4
    choose(CAPTURED)
    assert losses(replace(config, out=tmp_path / "captured")) == pytest.approx(expected, rel=1e-6)
    assert (tape.recordings, tape.replays) == (1, 10)
    if not SMALL[method]().couples_samples:
        pieces = losses(replace(config, out=tmp_path / "pieces", micro_batches=2))
        assert pieces == pytest.approx(expected, rel=1e-6)
        assert (tape.recordings, tape.replays) == (2, 20)


@pytest.mark.parametrize("order", [(EAGER, CAPTURED), (CAPTURED, EAGER)])
def test_a_run_may_go_on_with_and_without(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None], order: tuple[CompileChoice, ...]
) -> None:
    config = settings(tmp_path, "amr")
    choose(EAGER)
    expected = losses(config)
    halves = replace(config, out=tmp_path / "halves")
    choose(order[0])
    pretrain(halves)
    # As if killed after step 6.
    (halves.out / "result.json").unlink()
    for file in (halves.out / "checkpoints").glob("step-00000012.*"):
        file.unlink()
    choose(order[1])
    assert losses(halves) == pytest.approx(expected, rel=1e-6)
    assert tape.recordings == 1


def test_what_is_saved_is_the_same_as_without(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None]
) -> None:
    config, groups = settings(tmp_path, "motion_transformer"), []
    for choice in (EAGER, CAPTURED):
        choose(choice)
        pretrain(replace(config, out=tmp_path / choice.reason))
        state = load_latest(tmp_path / choice.reason / "checkpoints")
        assert state is not None
        groups.append(state["optimizer"]["param_groups"])
    assert groups[0] == groups[1]
    assert all(isinstance(group["lr"], float) and group["capturable"] is False for group in groups[1])
    assert tape.replays == 10


def test_batches_that_come_from_elsewhere_are_copied_to_where_the_recording_looks(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None]
) -> None:
    config = replace(settings(tmp_path, "amr"), loader="streaming", workers=1)
    found = []
    for choice in (EAGER, CAPTURED):
        choose(choice)
        found.append(losses(replace(config, out=tmp_path / choice.reason)))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert tape.replays == 10


def test_each_size_is_recorded_once(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, "amr")
    choose(EAGER)
    expected = losses(config)

    two_sizes(monkeypatch)
    choose(CAPTURED)
    assert losses(replace(config, out=tmp_path / "captured")) == pytest.approx(expected, rel=1e-6)
    assert (tape.recordings, tape.replays) == (2, 8)


def test_what_cannot_be_recorded_goes_on_one_operation_at_a_time(
    tmp_path: Path,
    tape: Tape,
    choose: Callable[[CompileChoice], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(call: Callable[[], Any]) -> Any:
        raise RuntimeError("\noperation not permitted when stream is capturing\nmore of it")

    config = settings(tmp_path, "amr")
    choose(EAGER)
    expected = losses(config)
    choose(CAPTURED)
    monkeypatch.setattr(tape, "record", refuse)
    assert losses(replace(config, out=tmp_path / "captured")) == pytest.approx(expected, rel=1e-6)
    assert [record.getMessage() for record in caplog.records if "not captured" in record.getMessage()] == [
        "Steps are not captured from here on, for that failed: RuntimeError: operation not permitted when stream is "
        "capturing"
    ]


def test_a_recording_that_failed_holds_no_memory_when_the_step_is_taken(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed for it lies in the frames of its error, and would leave no room for the step."""
    held, alive = list[weakref.ref[torch.Tensor]](), list[bool]()

    def refuse(call: Callable[[], Any]) -> Any:
        computed = torch.zeros(3)
        held.append(weakref.ref(computed))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    def look(self: Stepper) -> None:
        alive.append(held[0]() is not None)
        exact_sizes(self)

    exact_sizes = Stepper.exact_sizes
    monkeypatch.setattr(Stepper, "exact_sizes", look)
    monkeypatch.setattr(tape, "record", refuse)
    choose(CAPTURED)
    assert len(losses(settings(tmp_path, "amr"))) == 4
    assert alive == [False]


def test_where_memory_is_short_beside_a_recording_the_run_goes_on_without(
    tmp_path: Path,
    tape: Tape,
    choose: Callable[[CompileChoice], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = settings(tmp_path, "amr")
    choose(EAGER)
    expected = losses(config)
    two_sizes(monkeypatch)

    def short(call: Callable[[], Any]) -> Any:
        if tape.recordings:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")
        return call()

    monkeypatch.setattr(tape, "aside", short)
    choose(CAPTURED)
    assert losses(replace(config, out=tmp_path / "captured")) == pytest.approx(expected, rel=1e-6)
    assert tape.recordings == 1
    assert sum("not captured from here on" in record.getMessage() for record in caplog.records) == 1


class FakeCuda:
    """Stands in for streams and graphs of PyTorch: a recording that was broken cannot be ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said = list[Any]()
        self.usual, self.own = FakeStream(self), FakeStream(self)
        self.current = self.usual
        for name, value in {
            "Stream": lambda device: self.own,
            "current_stream": lambda: self.current,
            "set_stream": lambda stream: setattr(self, "current", stream),
            "stream": self.stream,
            "graph_pool_handle": lambda: (0, 7),
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
            "graph": lambda graph, pool, stream: FakeRecording(self),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(
                torch._C, name, lambda *given, name=name: self.said.append((name, *given)), raising=False
            )

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before


class FakeStream:
    device_index = 0

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def wait_stream(self, other: Any) -> None:
        self._cuda.said.append("aside waits" if self is self._cuda.own else "waits for aside")


class FakeRecording:
    """As `torch.cuda.graph`: ends the recording, then goes back to the stream of before."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def __enter__(self) -> None:
        self._before, self._cuda.current = self._cuda.current, self._cuda.own

    def __exit__(self, *_: object) -> None:
        if "broken" in self._cuda.said:
            raise RuntimeError("operation failed due to a previous error during capture")
        self._cuda.current = self._before


def test_a_broken_recording_leaves_no_stream_and_no_pool_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    graphs = CudaGraphs(torch.device("cuda"))
    assert graphs.record(lambda: cuda.current is cuda.own)[1]
    assert cuda.current is cuda.usual
    assert cuda.said == []

    def reads_a_number() -> None:
        cuda.said.append("broken")
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        graphs.record(reads_a_number)
    assert cuda.current is cuda.usual
    assert cuda.said == ["broken", ("_cuda_endAllocateToPool", 0, (0, 7)), ("_cuda_releasePool", 0, (0, 7))]


def test_a_step_that_is_broken_off_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)

    def breaks_off() -> None:
        raise BrokenOff

    with pytest.raises(BrokenOff):
        CudaGraphs(torch.device("cuda")).aside(breaks_off)
    assert cuda.said == ["aside waits", "waits for aside"]
    assert cuda.current is cuda.usual


def test_fine_tuning_is_the_same_replayed(tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None]) -> None:
    store, found = walks(tmp_path / "store"), []
    data = TaskData(store, np.arange(40), np.arange(40, 48), "halves")
    config = FinetuneConfig(
        epochs=3, batch_clips=8, hidden_width=16, schedule=ScheduleConfig(0.0, 0.0), augment=AUGMENT
    )
    for choice in (EAGER, CAPTURED):
        choose(choice)
        encoder = SMALL["amr"]().encoder.fresh(0)
        context = TaskContext(device="cpu", precision="fp32")
        finetune_in(tmp_path / choice.reason, encoder, data, config, context, CheckpointConfig(keep_last=1))
        found.append([entry["loss"] for entry in read_log(tmp_path / choice.reason / "log.jsonl")])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert (tape.recordings, tape.replays) == (1, 13)


@pytest.mark.parametrize("task", TRAININGS)
def test_trainings_inside_tasks_are_the_same_replayed(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    store, found = walks(tmp_path / "store"), []
    for choice in (EAGER, CAPTURED):
        choose(choice)

        def logged(*given: Any, out: Path = tmp_path / choice.reason) -> Any:
            *what, config, _ = given
            return loop.fit(*what, replace(config, log_every=2), out)

        monkeypatch.setattr("marrow.tasks.one_go.fit", logged)
        TRAININGS[task](encoders()["hierarchical"], store, TaskContext(device="cpu", precision="fp32"))
        found.append([entry["loss"] for entry in read_log(tmp_path / choice.reason / "log.jsonl")])
    assert len(found[0]) == 3
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert (tape.recordings, tape.replays) == (1, 4)


def test_a_bad_loss_is_found_and_taken_again(
    tmp_path: Path, tape: Tape, choose: Callable[[CompileChoice], None]
) -> None:
    """The learning rate is so high that a loss is not finite before long: the step is taken again, directly."""
    config = replace(settings(tmp_path, "amr"), log_every=1, optimizer=OptimizerConfig(learning_rate=1e30))
    said = []
    for choice in (EAGER, CAPTURED):
        choose(choice)
        with pytest.raises(Exception, match="expected a finite loss") as error:
            pretrain(replace(config, out=tmp_path / choice.reason))
        said.append(str(error.value).split(":")[0])
        (file,) = (tmp_path / choice.reason / "non_finite").iterdir()
        assert torch.load(file, weights_only=True)["micro_batches"][0]["joints"].shape[0] == 8
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["patches", "frames", "hierarchical"])
def test_a_frozen_encoder_is_the_same_replayed(tmp_path: Path, tape: Tape, name: str) -> None:
    store, encoder = walks(tmp_path / "store"), encoders()[name].eval()
    frames = flat_frames(store, np.arange(len(store)), encoder.input, "cpu")
    shapes = FixedShapes(np.asarray(store.body_count, np.int64), 8, 2, whole=False)
    batches = list(resident_batches(frames, np.arange(len(store)), encoder.input, 8, shapes))
    call = CapturedCall(lambda batch: (encoder(batch).pooled(), encoder(batch).joints_kept()), tape)
    with torch.no_grad():
        replayed = [call(batch) for batch in batches]
        directly = [call._call(batch) for batch in batches]
    assert (len(batches), tape.recordings, tape.replays) == (6, 1, 4)
    for found, expected in zip(replayed, directly, strict=True):
        for values, right in zip(found, expected, strict=True):
            torch.testing.assert_close(values, right, rtol=1e-6, atol=1e-7)
    assert not torch.equal(replayed[3][0], replayed[4][0])


@pytest.mark.slow
def test_nothing_in_a_step_waits_for_the_host() -> None:
    script = Path(__file__).with_name("no_host.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) == 1 + len(OBJECTIVES) * 9
    assert len(said.pop("control")) == 3
    assert {name: found for name, found in said.items() if found} == {}
