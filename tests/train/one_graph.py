"""What test_compiled.py asks in a process of its own: pytest's checks of shapes wrap functions, and cannot be compiled.

python one_graph.py graphs|runs|shared|finetune|tasks|inductor|fake FOLDER        prints one JSON object
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from test_conformance_objectives import SMALL, small_hi_trs

import marrow.train.loop as loop
from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch, Shapes
from marrow.data.draws import Draws
from marrow.data.loader import ResidentLoader
from marrow.data.recordings import Recordings, sliding
from marrow.data.window import InputConfig
from marrow.models.encoder import Encoder
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.trainable import Trainable
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import pretrain
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks import one_go
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.training import train_detector
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.task import train_forecaster
from marrow.tasks.recognition.finetune import finetune_in
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.testing.encoders import example_batch
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.compiled import DrawnLoss, one_graph
from marrow.train.device import network_context
from marrow.train.logs import read_log
from marrow.train.loop import FitResult
from marrow.train.optim import ScheduleConfig

# Everything that augmentation can do.
AUGMENT = AugmentConfig(0.5, 1.0, 8, 0.3, 1.0, 0.5, 0.1, 0.001, 0.5)


def walks(folder: Path, clips: int = 48) -> Store:
    """Write clips of one or two bodies and unequal length, in some of which joints are absent for a while."""
    generator, sequences = np.random.default_rng(0), []
    for number in range(clips):
        bodies, frames = 1 + (number % 5 == 0), 20 + number % 7
        joints = np.cumsum(generator.normal(0, 0.02, (bodies, frames, 20, 3)), axis=1).astype(np.float32)
        present = np.ones(joints.shape[:3], np.bool_)
        if number % 3 == 0:
            present[0, 4:11, number % 20] = False
        record = Record(f"clip{number}", label=number % 2)
        sequences.append(SkeletonSequence(joints, present, 30.0, KINECT_V1_20, record))
    return write_store(folder, sequences, source="walks", classes=("a", "b"))


def graphs(folder: Path) -> dict[str, Any]:
    """Compile each method once, feed it twenty batches of the two sizes, and compare loss and gradient with eager."""
    store, said = walks(folder / "store"), {}
    recorded = InputConfig(28, pace="recorded", min_frames=15)
    for name, build in {**SMALL, "hi_trs at recorded pace": lambda: small_hi_trs(recorded)}.items():
        objective = build()
        torch._dynamo.reset()
        counters.clear()
        graph = one_graph(objective, backend="aot_eager")
        where = {"batch_clips": 24, "seed": 0, "device": "cpu"}
        loader = ResidentLoader(store, np.arange(len(store)), objective.encoder.input, AUGMENT, **where, fixed=True)
        worst, sizes = 0.0, set()
        for number in range(20):
            ((batch, draws),) = loader.next_step()
            if number == 7:  # the larger size, which a batch hardly ever needs
                frames = 48 * 28 if batch.frame_count is not None else None
                batch = replace(batch, shapes=Shapes(48, whole=False, frames=frames))
            sizes.add(batch.shapes)
            losses, gradients = [], []
            exact = replace(batch, shapes=None)
            for module, given, its_draws in (
                (DrawnLoss(objective), exact, draws),
                (graph, batch, replace(draws, step=torch.tensor(draws.step))),
            ):
                objective.zero_grad()
                output = module(given, its_draws)
                output.loss_sum.backward()
                losses.append(output.loss_sum.detach() / output.weight)
                gradients.append(torch.cat([each.grad.flatten() for each in objective.parameters()]))
            worst = max(worst, float((losses[0] - losses[1]).abs() / losses[0].abs()))
            worst = max(worst, float((gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()))
        said[name] = {
            "graphs": counters["stats"]["unique_graphs"],
            "sizes": len(sizes),
            "breaks": sum(counters["graph_break"].values()),
            "worst": worst,
        }
    return said


def runs(folder: Path) -> dict[str, Any]:
    """Train each method eagerly, compiled, compiled in pieces, and half and half."""
    loop.one_graph = lambda trainable: one_graph(trainable, backend="aot_eager")
    store, said = walks(folder / "store"), {}
    for name, build in SMALL.items():
        objective = build()
        config = PretrainConfig(
            store=store.path,
            out=folder / name / "eager",
            method=name,
            objective=objective.config,
            encoder=objective.encoder.config,
            input=replace(objective.encoder.input, window_frames=16),
            augment=AUGMENT,
            schedule=ScheduleConfig(0.0, 0.0),
            checkpoints=CheckpointConfig(every_steps=5, keep_last=9),
            batch_clips=8,
            max_steps=10,
            ends_at_epochs=False,
            device="cpu",
            precision="fp32",
            compile="off",
            log_every=1,
        )
        torch._dynamo.reset()
        losses = {"eager": _losses(config)}
        losses["compiled"] = _losses(replace(config, out=folder / name / "compiled", compile="on"))
        if not objective.couples_samples:
            losses["in pieces"] = _losses(replace(config, out=folder / name / "pieces", compile="on", micro_batches=2))
        for begun, ended in (("on", "off"), ("off", "on")):
            halves = replace(config, out=folder / name / f"{begun}-{ended}", compile=begun)
            pretrain(halves)
            # As if killed after step 5.
            (halves.out / "result.json").unlink()
            for file in (halves.out / "checkpoints").glob("step-00000010.*"):
                file.unlink()
            losses[f"begun {begun}, ended {ended}"] = _losses(replace(halves, compile=ended))
        said[name] = losses
    return said


def shared(folder: Path) -> dict[str, Any]:
    """Train in all processes that torchrun has started, compiled; alone, eagerly."""
    loop.one_graph = lambda trainable: one_graph(trainable, backend="aot_eager")
    several, store = "WORLD_SIZE" in os.environ, folder / "store"
    config = PretrainConfig(
        store=store if store.exists() else walks(store).path,
        out=folder / ("several" if several else "alone"),
        method="mamp",
        objective=SMALL["mamp"]().config,
        encoder=SMALL["mamp"]().encoder.config,
        input=replace(SMALL["mamp"]().encoder.input, window_frames=16),
        schedule=ScheduleConfig(0.0, 0.0),
        batch_clips=8,
        max_steps=6,
        ends_at_epochs=False,
        device="cpu",
        precision="fp32",
        compile="on" if several else "off",
        log_every=1,
    )
    return {"losses": _losses(config), "graphs": counters["stats"]["unique_graphs"]}


def _losses(config: PretrainConfig) -> list[float]:
    result = pretrain(config)
    return [entry["loss"] for entry in read_log(result.folder / "log.jsonl")]


def finetune(folder: Path) -> dict[str, Any]:
    """Fine-tune an encoder of each kind eagerly and compiled."""
    loop.one_graph = lambda trainable: one_graph(trainable, backend="aot_eager")
    store, said = walks(folder / "store"), {}
    config = FinetuneConfig(
        epochs=2, batch_clips=8, hidden_width=16, schedule=ScheduleConfig(0.0, 0.0), augment=AUGMENT
    )
    for name in ("mamp", "hi_trs", "motion_transformer"):
        said[name] = {}
        for wish in ("off", "on"):
            torch._dynamo.reset()
            counters.clear()
            encoder = SMALL[name]().encoder.fresh(0)
            data = TaskData(store, np.arange(40), np.arange(40, 48), "halves")
            context = TaskContext(device="cpu", precision="fp32", compile=wish)
            out = folder / name / wish
            finetune_in(out, encoder, data, config, context, CheckpointConfig(keep_last=1))
            said[name][wish] = [entry["loss"] for entry in read_log(out / "log.jsonl")]
        said[name]["graphs"] = counters["stats"]["unique_graphs"]
    return said


def task_trainings(folder: Path) -> dict[str, Any]:
    """Train for both tasks, on an encoder of each kind, eagerly and compiled, one step in the larger size."""
    loop.one_graph = lambda trainable: one_graph(trainable, backend="aot_eager")
    store, said = walks(folder / "store"), {}
    for what, train in TRAININGS.items():
        for name, encoder in encoders().items():
            found: dict[str, Any] = {}
            said[f"{what}: {name}"] = found
            for wish in ("off", "on"):
                torch._dynamo.reset()
                counters.clear()
                out, sizes = folder / what / name / wish, set()

                def kept(fabric, trainable, optimizer, loader, rate, config, _, out=out, sizes=sizes):
                    given = loader.next_step

                    def next_step():
                        ((batch, draws),) = given()
                        if batch.shapes is not None and loader.position == 4:
                            batch = replace(batch, shapes=loader._shapes.largest)
                        sizes.add(batch.shapes)
                        return [(batch, draws)]

                    loader.next_step = next_step
                    return loop.fit(fabric, trainable, optimizer, loader, rate, replace(config, log_every=1), out)

                one_go.fit = kept
                train(encoder, store, TaskContext(device="cpu", precision="fp32", compile=wish))
                found[wish] = [entry["loss"] for entry in read_log(out / "log.jsonl")]
                found["graphs"], found["sizes"] = counters["stats"]["unique_graphs"], len(sizes)
                found["breaks"] = sum(counters["graph_break"].values())
    return said


def encoders() -> dict[str, Encoder]:
    """Return an encoder of each kind, of several streams and paces."""
    size = FrameTransformerConfig(width=16, depth=1, heads=2)
    recorded = InputConfig(28, "motion", "body", pace="recorded", min_frames=15)
    of_frames = {"few frames": InputConfig(5, "bone_motion", pace="recorded", min_frames=4), "frames": recorded}
    return {
        "patches": SMALL["mamp"]().encoder,
        **{name: FrameTransformer(size, input, KINECT_V1_20).fresh(0) for name, input in of_frames.items()},
        "hierarchical": small_hi_trs(recorded).encoder.fresh(0),
    }


DETECTION = DetectionConfig(
    window_seconds=0.6,
    stride_seconds=0.6,
    train_stride_seconds=0.2,
    steps=6,
    warmup_steps=1,
    batch_windows=24,
    hidden_width=16,
)
PREDICTION = PredictionConfig(
    6, 12, 30.0, functions=5, steps=6, warmup_steps=1, batch_windows=24, hidden_width=16, recent_frames=4
)


def detector(encoder: Encoder, store: Store, context: TaskContext) -> None:
    """Train a detector on frames of no particular class."""
    recordings = Recordings.of(store, np.arange(len(store)))
    labels = [np.arange(frames) // 7 % 3 for frames in recordings.frame_count]
    train_detector(encoder, recordings, labels, 3, DETECTION, context)


def forecaster(encoder: Encoder, store: Store, context: TaskContext) -> None:
    """Train a forecaster."""
    recordings = Recordings.of(store, np.arange(len(store)))
    train_forecaster(encoder, recordings, sliding(recordings, 18, 1, whole=False), PREDICTION, context)


TRAININGS = {"detection": detector, "prediction": forecaster}


def begun_trainings(store: Store) -> Iterator[tuple[str, Trainable, Batch, Draws]]:
    """Yield what is trained in each task on each encoder, and its first batch of fixed shapes."""
    context = TaskContext(device="cpu", precision="fp32", compile="on")
    for what, train in TRAININGS.items():
        for name, encoder in encoders().items():
            begun: list[Any] = []

            def kept(_, trainable, optimizer, loader, *others, begun=begun) -> FitResult:
                begun.extend((trainable, *loader.next_step()[0]))
                return FitResult(1, True, {"cpu_seconds": 0.0, "wall_seconds": 0.0})

            one_go.fit = kept
            train(encoder, store, context)
            yield f"{what}: {name}", *begun


def inductor(folder: Path) -> dict[str, Any]:
    """Compile each method, and some trainings of tasks, for this processor; return how far the loss is off."""
    said = {}
    for name, trainable, batch, draws in begun_trainings(walks(folder / "store")):
        if name not in ("detection: hierarchical", "prediction: patches", "prediction: frames"):
            continue  # each takes twenty seconds
        loss = one_graph(trainable)(batch, replace(draws, step=torch.tensor(draws.step))).loss_sum
        loss.backward()
        eager = DrawnLoss(trainable)(replace(batch, shapes=None), draws).loss_sum
        said[name] = float((loss.detach() / eager.detach() - 1.0).abs())
    for name, build in SMALL.items():
        objective = build()
        batch = replace(example_batch(objective.encoder), shapes=Shapes(8, whole=False))
        draws = Draws(3, torch.tensor(1), torch.arange(4))
        loss = one_graph(objective)(batch, draws).loss_sum
        loss.backward()
        eager = DrawnLoss(objective)(batch, draws).loss_sum
        said[name] = float((loss.detach() / eager.detach() - 1.0).abs())
    return said


def fake(folder: Path) -> dict[str, Any]:
    """Take a step with tensors that have no content: whatever needs a number on the host raises."""
    said = {}
    for name, trainable, batch, draws in begun_trainings(walks(folder / "store")):
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            tensors = {
                key: mode.from_tensor(each) for key, each in vars(batch).items() if isinstance(each, torch.Tensor)
            }
            draws = replace(draws, step=torch.tensor(3), index=mode.from_tensor(draws.index))
            output = DrawnLoss(trainable)(replace(batch, **tensors), draws)
            output.loss_sum.backward()
        said[name] = list(output.loss_sum.shape)
    for name, build in SMALL.items():
        objective = build()
        for precision in ("fp32", "bf16"):
            with FakeTensorMode(allow_non_fake_inputs=True):
                joints = torch.empty(8, 2, objective.encoder.input.window_frames, 20, 3)
                known = Shapes(12, whole=False)
                batch = Batch(joints, joints[..., 0] > 0, torch.zeros(8).long(), torch.zeros(8).long(), shapes=known)
                draws = Draws(0, torch.tensor(3), torch.arange(8))
                with network_context(precision == "bf16", "cpu"):
                    output = DrawnLoss(objective)(batch, draws)
                output.loss_sum.backward()
                for parameter in objective.parameters():
                    assert parameter.grad is not None
                    parameter.grad.mul_(1.0 / output.weight)
                torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
                torch.optim.AdamW(objective.parameters(), fused=True).step()
                objective.zero_grad()
                said[f"{name} {precision}"] = list(output.loss_sum.shape)
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer = {
        "graphs": graphs,
        "runs": runs,
        "shared": shared,
        "finetune": finetune,
        "tasks": task_trainings,
        "inductor": inductor,
        "fake": fake,
    }[sys.argv[1]](Path(sys.argv[2]))
    # One write, so that the lines of several processes do not mix.
    os.write(sys.stdout.fileno(), f"{json.dumps(answer)}\n".encode())
