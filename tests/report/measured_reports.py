"""Evaluations made by hand whose numbers are no top-1 score, with synthetic motion."""

from dataclasses import fields
from typing import Any

import numpy as np

from marrow.skeleton.layout import KINECT_V1_20, Skeleton
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.version_1 import declared

CLASSES = ("drink", "<wave>", "sit down", "stand up", "clap", "throw", "walk", "pick up", "carry", "push")
LABELS = {"1 %": 10, "5 %": 40, "20 %": 160}


def facts(name: str = "run", seed: int = 1, skeleton: Skeleton = KINECT_V1_20) -> RunFacts:
    """Return what an encoder of a skeleton says of itself, as its JSON has it."""
    layout: dict[str, Any] = {each.name: getattr(skeleton, each.name) for each in fields(Skeleton)}
    layout |= {each: list(layout[each]) for each in ("joints", "parents", "mirror")}
    return RunFacts(name, seed, {"kind": "patch_transformer", "skeleton": layout, "provenance": {"seed": seed}}, "abc")


def evaluation_of(reports: list[Report], *, labelled: bool = False, clips: int = 12) -> EvaluationReport:
    """Return an evaluation of some reports: on recordings without a label each, or on clips that have one."""
    label = [clip % len(CLASSES) if labelled else -1 for clip in range(clips)]
    runs = [facts(f"run{seed}", seed) for seed in sorted({each.seed for each in reports if each.source == "trained"})]
    known = [declared(report) for report in reports]
    return EvaluationReport(
        "xsub", "f" * 64, list(CLASSES), 24, list(range(clips)), label, [False] * clips, runs, known, ["A note."]
    )


def few_labels_reports(seeds: tuple[int, ...] = (1, 2), task: str = "semi_supervised") -> list[Report]:
    """Return accuracies: 30, 50 and 70 % plus the seed, 10 less from scratch, each the mean of two draws (± 4)."""
    reports = []
    for source, less in (("trained", 0.0), ("random", 10.0)):
        for seed in seeds:
            for place, (variant, labels) in enumerate(LABELS.items()):
                score = 30.0 + 20.0 * place - less + seed
                draws = [
                    {"seed": number, "labels": labels, "scores": {"top1_percent": score + shift}}
                    for number, shift in enumerate((-4.0, 4.0))
                ]
                reports.append(
                    Report(
                        f"{task}/{variant}",
                        {"top1_percent": score, "top1_best_percent": score + 1, "top1_draws_std_percent": 5.7},
                        {"top1_percent": (score - 3, score + 3)},
                        settings={"start": "from scratch" if less else "from pre-training"},
                        seed=seed,
                        num_labels_used=labels,
                        source=source,
                        fingerprints={"run": f"run{seed}"} if source == "trained" else {},
                        detail={"draws": draws},
                    )
                )
    return reports


def retrieval_reports() -> list[Report]:
    """Return ranks of a frozen encoder, trained and not."""
    return [
        Report(
            "retrieval/pooled",
            {"recall_at_1_percent": 60.0 - less, "recall_at_5_percent": 80.0 - less, "map_percent": 40.0 - less},
            {"recall_at_1_percent": (55.0 - less, 65.0 - less)},
            seed=1,
            source=source,
            fingerprints={"run": "run1"} if source == "trained" else {},
        )
        for source, less in (("trained", 0.0), ("random", 20.0))
    ]


def recording(number: int, wrong: int, *, frames: int = 1500, segments: int = 9) -> dict[str, Any]:
    """Return a recording in which the last `wrong` segments were taken for the next class."""
    length = frames // (segments + 1)
    truth = [[length * place + 30, length * (place + 1), (number + place) % len(CLASSES)] for place in range(segments)]
    predicted = [
        [start, end, (label + (place >= segments - wrong)) % len(CLASSES)]
        for place, (start, end, label) in enumerate(truth)
    ]
    return {
        "row": number,
        "id": f"recording{number}",
        "fps": 30.0,
        "frames": frames,
        "truth": truth,
        "predicted": predicted,
    }


def detection_reports(recordings: list[dict[str, Any]] | None = None) -> list[Report]:
    """Return scores of detection, trained, from scratch and of raw coordinates; the trained one's timelines."""
    if recordings is None:
        recordings = [recording(number, wrong) for number, wrong in enumerate((0, 9, 3, 4, 5))]
    scores = {
        "map_actions_iou50_percent": 62.5,
        "map_videos_iou50_percent": 65.0,
        "f1_iou50_percent": 58.0,
        "frame_accuracy_percent": 81.0,
        "edit_percent": 70.0,
    }
    scores |= {f"map_actions_iou{iou}_percent": 50.0 + iou / 10 for iou in (10, 30)} | {"segment_f1_50_percent": 55.0}
    scores |= {f"voc_map_iou{iou}_percent": 60.0 for iou in (10, 30, 50)} | {"ap_2d_percent": 33.0}
    scores |= {f"ap_iou{iou}_percent": 60.0 for iou in (10, 30, 50)} | {"frame_f1_actions_percent": 52.0}
    return [
        Report(
            task,
            {name: value - less for name, value in scores.items()},
            {"map_actions_iou50_percent": (57.5 - less, 67.5 - less)},
            settings={"start": "from scratch"} if source == "random" else {},
            seed=1,
            source=source,
            fingerprints={"run": "run1"} if source == "trained" else {},
            detail={"recordings": recordings} if source == "trained" else {},
        )
        for source, task, less in (
            ("trained", "action_detection", 0.0),
            ("random", "action_detection", 12.0),
            ("raw", "action_detection/knn", 30.0),
        )
    ]


def walk(frames: int, fps: float = 25.0) -> np.ndarray:
    """Return a stick figure of 20 joints that walks along x, swinging arms and legs, in metres [frame joint 3]."""
    joints = KINECT_V1_20.joints
    heights = {"Head": 1.65, "Shoulder": 1.4, "Elbow": 1.15, "Wrist": 0.95, "Hand": 0.85, "Hip": 0.9, "Knee": 0.5}
    heights |= {"Ankle": 0.1, "Foot": 0.04, "Spine": 1.15}
    across = {"Shoulder": 0.18, "Elbow": 0.24, "Wrist": 0.26, "Hand": 0.27, "Hip": 0.1, "Knee": 0.12, "Ankle": 0.12}
    time = np.arange(frames) / fps
    position = np.zeros((frames, len(joints), 3))
    for place, name in enumerate(joints):
        part = next((part for part in heights if name.startswith(part)), "Spine")
        side = -1.0 if name.endswith("Left") else 1.0 if name.endswith("Right") else 0.0
        reach = 0.0 if side == 0 else {"Elbow": 0.12, "Wrist": 0.25, "Hand": 0.3, "Knee": 0.15}.get(part, 0.0)
        reach = 0.35 if part in ("Ankle", "Foot") else reach
        arm = -1.0 if part in ("Elbow", "Wrist", "Hand") else 1.0
        position[:, place, 0] = 0.9 * time + arm * side * reach * np.sin(5.0 * time)
        position[:, place, 1] = heights[part]
        position[:, place, 2] = side * across.get(part, 0.12 if part == "Foot" else 0.0)
    return position


def example(number: int, off_metres_per_frame: float, *, observed: int = 25, future: int = 25) -> dict[str, Any]:
    """Return a window whose forecast drifts off sideways by so much in every frame."""
    whole = walk(observed + future) + np.array([0.3 * number, 0.0, 2.0])
    drift = off_metres_per_frame * np.arange(1, future + 1)[:, None, None] * np.array([0.0, 0.0, 1.0])
    parts = {"observed": whole[:observed], "truth": whole[observed:], "forecast": whole[observed:] + drift}
    plain = {name: np.rint(1000.0 * values).astype(int).tolist() for name, values in parts.items()}
    return {"row": number, "id": f"walk {number}", "fps": 25.0, **plain}


def prediction_reports(seeds: tuple[int, ...] = (1, 2), suffix: str = "") -> list[Report]:
    """Return errors that grow with the horizon: 0.1 mm a millisecond, times a factor of each source."""
    reports = []
    sources = (
        ("trained", "motion_prediction", 1.0, 0.004),
        ("random", "motion_prediction", 1.2, 0.005),
        ("raw", "motion_prediction/zero velocity", 1.5, 0.008),
        ("raw", "motion_prediction/constant velocity", 2.0, 0.010),
        ("raw", "motion_prediction/linear regression", 1.4, 0.006),
    )
    for source, task, factor, drift in sources:
        for seed in seeds if source != "raw" else (0,):
            errors = {}
            for horizon in (80, 160, 320, 400, 560, 1000):
                errors[f"mpjpe_{horizon}ms_mm"] = 0.1 * horizon * factor + seed
                errors[f"mpjpe_root_{horizon}ms_mm"] = 0.05 * horizon * factor + seed
            reports.append(
                Report(
                    task + ((", " if "/" in task else "/") + suffix if suffix else ""),
                    errors,
                    settings={"start": "from scratch"} if source == "random" else {},
                    seed=seed,
                    source=source,
                    fingerprints={"run": f"run{seed}"} if source == "trained" else {},
                    detail={"examples": [example(number, drift) for number in range(2)]},
                )
            )
    return reports
