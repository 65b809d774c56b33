"""Two processes are one with the same global batch: the real command, under the real torchrun."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from real_runs import children_of, command, entries, kill, make_store, run, start, wait_for
from safetensors.torch import load_file

from marrow.store.format import Store
from marrow.train.checkpoint import load_latest

pytestmark = pytest.mark.slow
WIDTH = 16
STEPS = "40"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_store(tmp_path_factory.mktemp("several"))
    bodies = np.asarray(Store.open(path).body_count)
    assert set(bodies) == {1, 2}  # ragged: the processes' shares of a step hold unequally many bodies
    return path


@pytest.fixture(scope="module")
def alone(store: Path) -> Path:
    out = store.parent / "alone"
    run(command(store, out, "--max_steps", STEPS))
    return out


def _weights(out: Path) -> dict[str, torch.Tensor]:
    state = load_latest(out / "checkpoints")
    assert state is not None
    weights = dict(state["trainable"])
    for name, value in weights.items():
        if name.endswith("attn.qkv.bias"):
            # A key's bias adds the same to all scores of a query: its gradient is 0, and what Adam makes of the
            # rounding errors in its place is arbitrary, and without effect.
            weights[name] = torch.cat([value[:WIDTH], value[2 * WIDTH :]])
    return weights


def _assert_same(out: Path, alone: Path) -> None:
    found, expected = _weights(out), _weights(alone)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for ours, theirs in zip(entries(out), entries(alone), strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def test_two_processes_reach_the_weights_of_one_and_one_of_them_watches_and_speaks(store: Path, alone: Path) -> None:
    out = store.parent / "two"
    watched = ["--monitor.enabled", "true", "--monitor.max_share_percent", "100", "--monitor.clips", "16"]
    done = run(command(store, out, "--max_steps", STEPS, "--micro_batches", "2", *watched, processes=2))
    _assert_same(out, alone)
    assert "effective_rank" in entries(out)[-1]
    assert done.stdout.count("encoder  ") == 1
    assert done.stderr.count("steps per epoch") == 1


def test_a_run_of_one_process_goes_on_sharded(store: Path, alone: Path) -> None:
    out = store.parent / "then_sharded"
    process = start(command(store, out, "--max_steps", STEPS))
    wait_for(lambda: (out / "checkpoints" / "step-00000006.json").exists() or process.poll() is not None)
    kill(process)
    done = run(command(store, out, "--max_steps", STEPS, "--strategy", "fsdp", processes=2))
    assert "Going on after step" in done.stderr
    _assert_same(out, alone)
    # What a sharded run leaves is whole, and any other can go on from it.
    encoders = [load_file(run / "encoder" / "encoder.safetensors") for run in (out, alone)]
    assert [value.shape for value in encoders[0].values()] == [value.shape for value in encoders[1].values()]
    found, expected = (load_latest(run / "checkpoints") for run in (out, alone))
    assert found is not None
    assert expected is not None
    for number, moments in expected["optimizer"]["state"].items():
        for name, value in moments.items():
            torch.testing.assert_close(found["optimizer"]["state"][number][name], value, rtol=1e-3, atol=1e-5)


def test_when_one_process_dies_the_other_does_not_wait_for_ever(store: Path) -> None:
    out = store.parent / "widow"
    process = start(command(store, out, "--max_steps", "100000", processes=2))
    wait_for(lambda: (out / "checkpoints" / "step-00000006.json").exists() or process.poll() is not None)
    os.kill(children_of(process)[-1], signal.SIGKILL)
    try:
        process.communicate(timeout=600)
    finally:
        kill(process)
    assert process.returncode == 1
    assert load_latest(out / "checkpoints") is not None
