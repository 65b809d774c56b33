"""Draw layouts on a standing body: self-contained SVG, no library, no script.

The body faces the reader, so that its left is on the right of the picture. A full dot is a place of the body, a ring a
joint that is the layout's own (drawn between those that are known), a square a joint that is derived.
"""

import html
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from marrow.skeleton.body import standing
from marrow.skeleton.derived import with_middles
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.names import ancestors
from marrow.skeleton.places import place_of_joints, places_of

_COLOURS = {"left": "#d9480f", "right": "#1864ab", "middle": "#495057"}
_BONE = 0.06  # metres beyond a joint, for one that nothing is known of
# From x, y and z to the right and down, seen a little from one side and from above, so that feet are not on one spot.
_VIEW = np.array([[1.0, 0.0], [0.0, -1.0], [0.35, 0.2]])
_LEGEND = "full: a place of the body · ring: the layout's own · square: derived · orange: left · blue: right"


def standing_joints(skeleton: Skeleton) -> Float64[np.ndarray, "joint 3"]:
    """Return where the joints of a layout are drawn: its places as on the standing body, its own joints among them.

    A joint that is no place lies between the nearest ones above and below it in the tree, or goes on from the one above
    where there is none below.
    """
    positions = standing(places_of(skeleton), len(skeleton.joints))
    for joint, sources in skeleton.derived.items():
        if sources and np.isnan(positions[joint]).any():
            positions[joint] = sum(weight * positions[source] for source, weight in sources)
    known = {joint for joint in range(len(positions)) if np.isfinite(positions[joint]).all()}
    if not known:
        return np.nan_to_num(positions)
    lines = {joint: ancestors(joint, skeleton.parents) for joint in range(len(positions))}
    for joint in sorted(lines, key=lambda joint: len(lines[joint])):  # from the root on
        if joint in known:
            continue
        below = [(lines[other].index(joint) + 1, other) for other in sorted(known) if joint in lines[other]]
        parent = skeleton.parents[joint]
        start = positions[parent] if parent != joint else None
        if below:
            steps, other = min(below)
            end = positions[other]
            positions[joint] = end if start is None else start + (end - start) / (steps + 1)
        elif start is not None:
            positions[joint] = start + _onward(joint, positions, skeleton)
        else:
            positions[joint] = positions[min(known)]
    return positions


def _onward(joint: int, positions: Float64[np.ndarray, "joint 3"], skeleton: Skeleton) -> Float64[np.ndarray, "3"]:
    """Return the way from a parent to the last joint of a limb: as the limb goes, fanned out among its siblings."""
    parent = skeleton.parents[joint]
    way = positions[parent] - positions[skeleton.parents[parent]]
    length = float(np.linalg.norm(way))
    way = way / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])
    siblings = [child for child, above in skeleton.bones if above == parent and skeleton.sides[child] != "middle"]
    angle = 0.0
    if joint in siblings:
        sign = -1.0 if skeleton.sides[joint] == "right" else 1.0
        same_side = [child for child in siblings if skeleton.sides[child] == skeleton.sides[joint]]
        angle = sign * 0.5 * (same_side.index(joint) - (len(same_side) - 1) / 2)
        if skeleton.sides[parent] == "middle":
            way = np.array([sign, -0.3, 0.0])
    cos, sin = np.cos(angle), np.sin(angle)
    return _BONE * np.array([cos * way[0] - sin * way[1], sin * way[0] + cos * way[1], way[2]])


def layout_picture(skeleton: Skeleton) -> str:
    """Draw one layout as an SVG document, with numbers at the joints and a list of names and places beside it."""
    skeleton = with_middles(skeleton)
    places, rows = place_of_joints(skeleton), []
    height = max(640.0, 44.0 + 17.0 * len(skeleton.joints))
    for joint, name in enumerate(skeleton.joints):
        kind = "derived" if joint in skeleton.derived else ""
        said = ", ".join(text for text in (places.get(joint, "its own"), kind) if text)
        colour = _COLOURS[skeleton.sides[joint]]
        rows.append(
            f'<text x="390" y="{40 + 17 * joint}" fill="{colour}">{joint} {html.escape(name)}'
            f'<tspan fill="#868e96"> {html.escape(said)}</tspan></text>'
        )
    figure = _figure(skeleton, 310.0, numbers=True)
    body = (
        f'<text x="12" y="22" font-size="15" fill="#212529">{html.escape(skeleton.name)}</text>'
        f'<g transform="translate(190 615)">{figure}</g>{"".join(rows)}'
    )
    return _document(body, 720.0, height)


def layout_sheet(layouts: Sequence[Skeleton], columns: int = 6) -> str:
    """Draw several layouts side by side as an SVG document."""
    width, height, scale = 165.0, 262.0, 118.0
    columns = max(1, min(columns, len(layouts)))
    parts = []
    for index, layout in enumerate(layouts):
        whole = with_middles(layout)
        x, y = (index % columns) * width, 30 + (index // columns) * height
        counted = f"{whole.measured_count} joints" + (f", {len(whole.derived)} derived" if whole.derived else "")
        parts.append(
            f'<g transform="translate({x + width / 2:.0f} {y:.0f})" text-anchor="middle">'
            f'<text y="14" fill="#212529">{html.escape(layout.name)}</text>'
            f'<text y="29" fill="#868e96" font-size="11">{counted}</text>'
            f'<g transform="translate(0 {height - 8:.0f})">{_figure(whole, scale)}</g></g>'
        )
    legend = f'<text x="10" y="18" fill="#495057">{html.escape(_LEGEND)}</text>'
    rows = -(-len(layouts) // columns)
    return _document(legend + "".join(parts), columns * width, 40 + rows * height)


def _figure(skeleton: Skeleton, scale: float, *, numbers: bool = False) -> str:
    """Draw a layout around the middle between its feet, y growing downwards as in SVG."""
    points = scale * standing_joints(skeleton) @ _VIEW
    places = place_of_joints(skeleton)
    parts = []
    for joint, parent in skeleton.bones:
        (x0, y0), (x1, y1) = points[parent], points[joint]
        dash = ' stroke-dasharray="2 3"' if joint in skeleton.derived else ""
        colour = _COLOURS[skeleton.sides[joint]]
        parts.append(f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{colour}" opacity="0.55"{dash}/>')
    radius = 3.2 if numbers else 2.2
    for joint, name in enumerate(skeleton.joints):
        (x, y), colour = points[joint], _COLOURS[skeleton.sides[joint]]
        title = f"<title>{html.escape(name)}: {html.escape(places.get(joint, 'its own'))}</title>"
        if joint in skeleton.derived:
            shape = f'<rect x="{x - radius:.1f}" y="{y - radius:.1f}" width="{2 * radius:g}" height="{2 * radius:g}"'
            parts.append(f'{shape} fill="#fff" stroke="{colour}" stroke-width="1.4">{title}</rect>')
        else:
            fill = colour if joint in places else "#fff"
            circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}"'
            parts.append(f'{circle} stroke="{colour}" stroke-width="1.2">{title}</circle>')
        if numbers:
            side = -1 if skeleton.sides[joint] == "right" else 1
            anchor = "end" if side < 0 else "start"
            parts.append(
                f'<text x="{x + 6 * side:.1f}" y="{y + 3:.1f}" text-anchor="{anchor}" font-size="9" '
                f'fill="#343a40">{joint}</text>'
            )
    return "".join(parts)


def _document(body: str, width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13" fill="none" '
        f'stroke-width="2" stroke-linecap="round"><rect width="100%" height="100%" fill="#fff" stroke="none"/>'
        f"{body}</svg>\n"
    )
