"""Draw skeletons as still pictures: self-contained SVG, no library, no script.

A sequence becomes a strip of stick figures from left to right in time, projected onto the plane of its camera (x to the
right, up upwards). The left limbs are orange, the right ones blue, trunk and head grey; a second body is paler.
"""

import html
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32

from marrow.errors import DataError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence

# Colours of (left, right, middle) per body; further bodies repeat the second.
_COLOURS = (("#d9480f", "#1864ab", "#495057"), ("#ffa94d", "#74c0fc", "#adb5bd"))
_MARGIN_PX = 8.0


def stick_figure(
    joints: Float32[np.ndarray, "body joint 2"],
    present: Bool[np.ndarray, "body joint"],
    skeleton: Skeleton,
    pixels_per_metre: float,
) -> str:
    """Draw the bodies of one frame as SVG lines, around (0, 0), y growing downwards as in SVG.

    Args:
        joints: positions in the picture's plane, in metres, the second axis pointing up.
        present: which joints were seen; bones without both ends are left out.
        skeleton: the layout of the joint axis.
        pixels_per_metre: scale.
    """
    points = joints * np.array([pixels_per_metre, -pixels_per_metre])
    parts = []
    # The first body is drawn last, on top.
    for body in reversed(range(len(points))):
        paths: dict[str, list[str]] = {}
        for joint, parent in skeleton.bones:
            if present[body, joint] and present[body, parent]:
                (x0, y0), (x1, y1) = points[body, parent], points[body, joint]
                colour = _colour(skeleton, joint, body)
                paths.setdefault(colour, []).append(f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}")
        for colour, lines in paths.items():
            parts.append(f'<path d="{"".join(lines)}" stroke="{colour}"/>')
        head = _head(skeleton)
        if head is not None and present[body, head]:
            x, y = points[body, head]
            colour = _COLOURS[min(body, 1)][2]
            radius = 0.085 * pixels_per_metre
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#fff" stroke="{colour}"/>')
    return "".join(parts)


def contact_sheet(
    sequences: Sequence[SkeletonSequence],
    titles: Sequence[str],
    figures: int = 6,
    columns: int = 2,
    strip_width: float = 620.0,
    strip_height: float = 150.0,
) -> str:
    """Draw one strip of stick figures per sequence and return the sheet as an SVG document.

    Args:
        sequences: what to draw.
        titles: a line over each strip.
        figures: moments per strip, evenly spread over the frames in which somebody was seen.
        columns: strips side by side.
        strip_width: of one strip, in pixels.
        strip_height: of one strip, in pixels.

    Raises:
        DataError: there are not as many titles as sequences.
    """
    if len(sequences) != len(titles):
        raise DataError(f"a contact sheet needs a title per sequence, got {len(titles)} for {len(sequences)}")
    columns = max(1, min(columns, len(sequences)))
    rows = -(-len(sequences) // columns)
    width, height = columns * strip_width + 2 * _MARGIN_PX, rows * strip_height + 2 * _MARGIN_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13" fill="none" '
        'stroke-width="2.2" stroke-linecap="round">',
        '<rect width="100%" height="100%" fill="#fff" stroke="none"/>',
    ]
    for index, (sequence, title) in enumerate(zip(sequences, titles, strict=True)):
        x = _MARGIN_PX + (index % columns) * strip_width
        y = _MARGIN_PX + (index // columns) * strip_height
        strip = _strip(sequence, figures, strip_width - _MARGIN_PX, strip_height - 26)
        parts.append(
            f'<g transform="translate({x:.0f} {y:.0f})">'
            f'<text x="4" y="14" fill="#212529">{html.escape(title)}</text>'
            f'<g transform="translate(0 20)">{strip}</g></g>'
        )
    return "".join([*parts, "</svg>\n"])


def _strip(sequence: SkeletonSequence, figures: int, width: float, height: float) -> str:
    """Draw moments of one sequence side by side, all at the scale at which the largest of them fits."""
    seen = np.flatnonzero(sequence.present.any(axis=(0, 2)))
    if len(seen) == 0:
        return '<text x="4" y="20" fill="#868e96">nobody is seen</text>'
    moments = seen[np.linspace(0, len(seen) - 1, figures).round().astype(int)]
    vertical = "xyz".index(sequence.skeleton.up)
    level = 1 if vertical == 0 else 0
    flat, present = sequence.joints[:, moments][..., [level, vertical]], sequence.present[:, moments]

    cell = width / figures
    low = np.where(present[..., None], flat, np.inf).min(axis=(0, 2))
    high = np.where(present[..., None], flat, -np.inf).max(axis=(0, 2))
    floor, ceiling = low[:, 1].min(), high[:, 1].max()
    widest = max(float((high[:, 0] - low[:, 0]).max()), 0.1)
    scale = min(height / max(float(ceiling - floor) + 0.2, 0.1), cell / (widest + 0.1))
    parts = [f'<line x1="0" y1="{height:.1f}" x2="{width:.1f}" y2="{height:.1f}" stroke="#dee2e6" stroke-width="1"/>']
    for index in range(figures):
        # Each figure is centred in its cell, but keeps its height above the lowest point of the whole strip.
        origin = np.array([(low[index, 0] + high[index, 0]) / 2, floor], np.float32)
        drawing = stick_figure(flat[:, index] - origin, present[:, index], sequence.skeleton, scale)
        parts.append(f'<g transform="translate({(index + 0.5) * cell:.1f} {height - 0.03 * scale:.1f})">{drawing}</g>')
    return "".join(parts)


def _colour(skeleton: Skeleton, joint: int, body: int) -> str:
    return _COLOURS[min(body, 1)][("left", "right", "middle").index(skeleton.sides[joint])]


def _head(skeleton: Skeleton) -> int | None:
    return next((index for index, joint in enumerate(skeleton.joints) if joint.lower() == "head"), None)
