"""Draw the README's moving picture: `python tools/draw_recognised.py` writes docs/images/recognised.svg.

Ten actions of the built-in synthetic motion, of people and from a camera that the shipped encoder did not learn from.
Five people give one example each, `marrow predict general --examples` is asked about the others, and the first of those
is drawn, whatever the answers are. An animated SVG without a script; joints that were not seen lie between the frames
in which they were.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

import marrow
from marrow.cli.demo import SEED, UNSEEN_CAMERA, UNSEEN_LABELS
from marrow.skeleton.layout import Skeleton
from marrow.synthetic.generator import CAMERAS
from marrow.use.examples import labeller_from_examples
from marrow.use.inputs import Input
from marrow.use.predict import Answer, predict
from marrow.viewer.motion import pack_motion

OUT = Path(__file__).parents[1] / "docs" / "images" / "recognised.svg"
EXAMPLES, PEOPLE = 5, 12
COLUMNS, WIDTH, HEIGHT, TOP = 5, 166, 220, 66
PIXELS_PER_METRE, FRAMES_PER_SECOND, MOST_FRAMES = 84.0, 8.0, 26
# A little from the side, so that what is done forwards is seen.
YAW = math.radians(35)
COLOURS = {"left": "#d9480f", "right": "#1864ab", "middle": "#495057"}
PALE = {"left": "#ffa94d", "right": "#74c0fc", "middle": "#adb5bd"}
RIGHT, WRONG = "#2b8a3e", "#c92a2a"


def recordings() -> tuple[list[marrow.SkeletonSequence], list[str]]:
    """Return the recordings, with labels counted anew, and the names of their classes."""
    reader = marrow.get_reader("synthetic", subjects=PEOPLE, seed=SEED)
    chosen = [
        record
        for record in reader.records(Path())
        if record.attributes["camera"] == UNSEEN_CAMERA and record.label in UNSEEN_LABELS
    ]
    made = [reader.read(Path(), record) for record in chosen]
    numbered = [
        replace(each, record=replace(each.record, label=UNSEEN_LABELS.index(each.record.label))) for each in made
    ]
    return numbered, [reader.classes[label] for label in UNSEEN_LABELS]


def level(sequence: marrow.SkeletonSequence) -> Float32[np.ndarray, "body frame joint 3"]:
    """Return positions as of a camera that does not look down: for the eye, not for the encoder."""
    camera = CAMERAS[UNSEEN_CAMERA]
    tilt = math.atan2(camera.height - 1.0, camera.distance)
    cosine, sine = math.cos(tilt), math.sin(tilt)
    return sequence.joints @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]], np.float32)


def moving_points(sequence: marrow.SkeletonSequence) -> tuple[Float[np.ndarray, "body frame joint 2"], float]:
    """Return the picture's points in pixels, feet on zero, y downwards, and how many seconds they take."""
    tracks = [(level(sequence), sequence.present)]
    [motion] = pack_motion(tracks, sequence.skeleton, sequence.fps, MOST_FRAMES, FRAMES_PER_SECOND)
    joints, present = motion.positions()
    joints, present = joints[present.any((1, 2))], present[present.any((1, 2))]
    frames = np.arange(joints.shape[1])
    for body, joint, axis in np.ndindex(joints.shape[0], joints.shape[2], 3):
        seen = present[body, :, joint]
        if seen.any():
            joints[body, :, joint, axis] = np.interp(frames, frames[seen], joints[body, seen, joint, axis])
    across = math.cos(YAW) * joints[..., 0] + math.sin(YAW) * joints[..., 2]
    flat = PIXELS_PER_METRE * np.stack([across, -joints[..., 1]], axis=-1)
    # A sensor sees a foot below the floor now and then: it is where one point in a hundred lies lower.
    left, right = np.percentile(flat[..., 0], (1, 99))
    return flat - np.array([(left + right) / 2, np.percentile(flat[..., 1], 99)]), motion.seconds


def figure(sequence: marrow.SkeletonSequence) -> str:
    """Draw a recording as moving lines around the middle between its feet."""
    points, seconds = moving_points(sequence)
    parts = []
    for body in reversed(range(len(points))):
        colours = PALE if body else COLOURS
        for side in COLOURS:
            frames = ";".join(_lines(points[body, frame], sequence.skeleton, side) for frame in range(points.shape[1]))
            parts.append(
                f'<path stroke="{colours[side]}" d="{frames.partition(";")[0]}"><animate attributeName="d" '
                f'dur="{seconds:.1f}s" repeatCount="indefinite" values="{frames}"/></path>'
            )
        head = points[body, :, sequence.skeleton.joints.index("Head")].round().astype(int)
        xs, ys = (";".join(map(str, column)) for column in head.T)
        animate = f'<animate attributeName="{{}}" dur="{seconds:.1f}s" repeatCount="indefinite" values="{{}}"/>'
        parts.append(
            f'<circle r="8" cx="{head[0, 0]}" cy="{head[0, 1]}" fill="#fff" stroke="{colours["middle"]}">'
            f"{animate.format('cx', xs)}{animate.format('cy', ys)}</circle>"
        )
    return "".join(parts)


def _lines(points: Float[np.ndarray, "joint 2"], skeleton: Skeleton, side: str) -> str:
    """Return the bones of one side as one path: a bone that begins where the last one ended goes on from there."""
    path, end = [], -1
    for joint, parent in skeleton.bones:
        if skeleton.sides[joint] != side:
            continue
        if parent != end:
            path.append("M{:.0f} {:.0f}".format(*points[parent]))
        path.append("L{:.0f} {:.0f}".format(*points[joint]))
        end = joint
    return "".join(path)


def picture(shown: Sequence[tuple[marrow.SkeletonSequence, Answer, str]], summary: str) -> str:
    """Draw recordings with their answers side by side as an SVG document."""
    rows = -(-len(shown) // COLUMNS)
    width, height = COLUMNS * WIDTH, TOP + rows * HEIGHT + 8
    title = f"Ten recordings, and what the encoder says after {EXAMPLES} examples of each action"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'text-anchor="middle" fill="none" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round">',
        f'<title>{title}</title><rect width="{width}" height="{height}" rx="8" fill="#fff"/>',
        f'<g fill="#212529"><text x="{width / 2}" y="28" font-size="20">{title}</text>',
        f'<text x="{width / 2}" y="52" font-size="15" fill="#868e96">{html.escape(summary)}</text></g>',
    ]
    for index, (sequence, answer, action) in enumerate(shown):
        x, y = WIDTH * (index % COLUMNS + 0.5), TOP + HEIGHT * (index // COLUMNS)
        label, probability = answer.label or "nobody", answer.classes[0][1]
        right = label == action
        said = f"{'✓' if right else '✗'} {label.replace('_', ' ')} {100 * probability:.0f} %"
        truth = "" if right else f'<tspan fill="#868e96"> ({html.escape(action.replace("_", " "))})</tspan>'
        parts.append(
            f'<g transform="translate({x:.0f} {y})"><g transform="translate(0 178)">{figure(sequence)}</g>'
            f'<text y="208" font-size="16" fill="{RIGHT if right else WRONG}">{html.escape(said)}{truth}</text></g>'
        )
    return "".join([*parts, "</svg>\n"])


def main() -> None:
    """Ask, draw, and say how many answers were right."""
    sequences, classes = recordings()
    examples = [each for each in sequences if int(each.record.attributes["subject"]) < EXAMPLES]
    asked = [each for each in sequences if int(each.record.attributes["subject"]) >= EXAMPLES]
    labeller = labeller_from_examples(marrow.load_encoder("general"), examples, classes, "synthetic motion")
    inputs = [Input("synthetic", each) for each in asked]
    answers = [each for each in predict(labeller, inputs, "general") if isinstance(each, Answer)]
    whole = [each for each in answers if each.person is None]
    judged = [(sequence, answer, classes[sequence.record.label]) for sequence, answer in zip(asked, whole, strict=True)]
    right = sum(answer.label == action for _, answer, action in judged)
    summary = "synthetic motion · actions, people and camera that it never saw · "
    summary += f"with {PEOPLE - EXAMPLES - 1} more people, {right} of {len(judged)} right"
    OUT.write_text(picture(judged[: len(classes)], summary), encoding="utf-8")
    print(f"{right} of {len(judged)} right; {OUT}: {OUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
