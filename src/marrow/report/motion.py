"""The parts of a page in which skeletons move: the map, hidden joints and predictions, neighbours."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from marrow.report.clips import Query, ShownClips
from marrow.report.figures import Figures, lay_out, legend, short
from marrow.report.style import INK, MUTED, SERIES, SYMBOLS, card
from marrow.viewer.motion import Reel

# More classes than that are folded in the legend of the map.
_LEGEND_CLASSES = 32
_SPEEDS = (("0.25", "¼"), ("0.5", "½"), ("1", "1"), ("2", "2"))
_VIEWS = (
    ("oblique", "oblique"),
    ("front", "front"),
    ("side", "side"),
    ("above", "above"),
    ("turned", "as turned"),
)
_KEYS = (
    "Drag a skeleton to turn it. By keyboard, once one is focused: space plays and pauses, arrows turn, comma and full "
    "stop go frame by frame."
)
_KEYS_FLAT = "By keyboard, once a skeleton is focused: space plays and pauses, comma and full stop go frame by frame."


def motion_html(shown: ShownClips, figures: Figures) -> str:
    """Return the map, the pictures and the neighbours, as far as there are any."""
    if shown.reel.motions:
        figures.data["reel"] = shown.reel.payload()
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in shown.notes)
    return _map_html(shown, figures) + _predictions_html(shown) + _neighbours_html(shown) + notes


def _map_html(shown: ShownClips, figures: Figures) -> str:
    if not shown.points:
        return ""
    figures.data["map-points"] = [[p.clip, p.label, p.predicted, p.name, p.x, p.y] for p in shown.points]
    said, right = [], []
    for point in shown.points:
        taken = "" if point.predicted in (None, point.label) else f"<br>taken for {escape(str(point.predicted))}"
        said.append(f"<b>{escape(point.label)}</b>{taken}<br>{escape(point.name)}")
        right.append(None if point.predicted is None else point.predicted == point.label)
    figure = _map_figure([(p.x, p.y) for p in shown.points], [p.label for p in shown.points], right, said)
    classes = sorted({point.label for point in shown.points})
    plot = figures.place(figure, f"Map of {len(shown.points)} clips of {len(classes)} classes.", name="map-plot")
    options = "".join(f"<option>{escape(name)}</option>" for name in classes)
    choice = (
        "<div class='toolbar'><label>Show <select id='map-class'><option value=''>all classes</option>"
        f"{options}</select></label></div>"
    )
    if len(classes) == 1:
        choice = ""
    how = "Point at a clip, or click it, to see it move."
    steps = (
        "<button class='small' data-step='-1' aria-label='Previous clip'>◀</button>"
        "<button class='small' data-step='1' aria-label='Next clip'>▶</button>"
    )
    player = (
        f"<div class='players' id='map-players'>{toolbar(shown.reel, steps)}<figure><canvas tabindex='0' role='img' "
        f"aria-label='The chosen clip, moving' data-clip='{shown.points[0].clip}'></canvas>"
        f"<figcaption id='map-caption' aria-live='polite'></figcaption></figure></div>"
    )
    signs = _map_legend(classes, is_hollow=any(flag is False for flag in right))
    content = f"<div class='map'><div>{choice}{plot}{signs}</div>{player}</div>"
    return card("Map of the features", content, lead=f"{shown.map_kind} {how}")


def _look_of(index: int) -> tuple[str, str]:
    """Return colour and shape of a class on the map."""
    return SERIES[index % len(SERIES)], SYMBOLS[(index + index // len(SERIES)) % len(SYMBOLS)]


def _map_legend(classes: Sequence[str], *, is_hollow: bool) -> str:
    """Return the legend of the map: every class, folded where there are many, and what hollow marks mean."""
    entries = [(name, *_look_of(index)) for index, name in enumerate(classes)]
    signs = legend(entries)
    if len(entries) > _LEGEND_CLASSES:
        signs = f"<details><summary>{len(entries)} classes</summary>{signs}</details>"
    hollow = legend([("hollow: the linear head took it for another class", MUTED, "ring")])
    return signs + (hollow if is_hollow else "")


def _map_figure(
    places: Sequence[tuple[float, float]],
    class_of: Sequence[str],
    right: Sequence[bool | None],
    said: Sequence[str],
) -> go.Figure:
    """Draw a map of clips: colour and shape by class, hollow where the class was not recognised.

    Args:
        places: of the clips.
        class_of: class names.
        right: whether a clip's class was recognised; None where nobody asked.
        said: what is shown when pointed at.
    """
    names = sorted(set(class_of))
    figure = go.Figure()
    for index, name in enumerate(names):
        colour, symbol = _look_of(index)
        clips = [clip for clip, its in enumerate(class_of) if its == name]
        figure.add_scatter(
            name=name,
            x=[places[clip][0] for clip in clips],
            y=[places[clip][1] for clip in clips],
            mode="markers",
            marker={
                "color": colour,
                "symbol": [symbol + ("-open" if right[clip] is False else "") for clip in clips],
                "size": 9,
                "line": {"width": 1.2, "color": colour},
            },
            customdata=clips,
            hovertext=[said[clip] for clip in clips],
            hoverinfo="text",
        )
        if len(names) <= 12:
            x, y = (sorted(places[clip][axis] for clip in clips)[len(clips) // 2] for axis in (0, 1))
            words = {"text": f"<b>{escape(short(name, 24))}</b>", "font": {"size": 12, "color": INK}}
            figure.add_annotation(x=x, y=y, showarrow=False, bgcolor="rgba(255,255,255,0.75)", yshift=16, **words)
    # The clip that is playing: a ring around its point.
    ring = {"symbol": "circle-open", "size": 20, "color": INK, "line": {"width": 2.5}}
    figure.add_scatter(name="playing", x=[None], y=[None], mode="markers", marker=ring, hoverinfo="skip")
    lay_out(figure, height=460, left=8)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    figure.update_layout(plot_bgcolor="#fafbfc", margin={"l": 4, "r": 4, "t": 4, "b": 4}, hovermode="closest")
    return figure


def _predictions_html(shown: ShownClips) -> str:
    if not shown.predictions:
        return ""
    signs = legend(
        [
            ("visible to the encoder", "#3c4149", "circle"),
            ("hidden from it (the truth)", "#c3c8d0", "ring"),
            ("predicted there", "#c2417f", "line"),
        ]
    )
    truth = "<label><input type='checkbox' data-do='truth' checked> show the truth</label>"
    stages = ""
    for picture in shown.predictions:
        caption = (
            f"<b>{escape(picture.label)}</b> · {picture.hidden_percent:.0f} % of joints hidden · mean error there "
            f"{_length(picture.error, shown.unit)}"
        )
        label = f"{picture.label}: visible, hidden and predicted joints, moving"
        stages += stage(label, caption, clip=picture.clip, predicted=picture.predicted, visible=picture.visible)
    content = (
        f"<div class='players pictures'>{signs}{toolbar(shown.reel, truth)}<div class='pair'>{stages}</div>"
        f"<p class='lead keys screen'>{_KEYS_FLAT if shown.reel.is_flat else _KEYS}</p></div>"
    )
    lead = "Windows of clips as the objective sees them, with what it hides and what it predicts there. "
    return card("What was hidden, and what was predicted", content, lead=lead + shown.predictions_note, wide=True)


def _neighbours_html(shown: ShownClips) -> str:
    if not shown.queries:
        return ""
    rows = "".join(_query_html(query) for query in shown.queries)
    content = f"<div class='players'>{toolbar(shown.reel)}{rows}</div>"
    return card("Nearest neighbours", content, lead=shown.queries_kind, wide=True)


def _query_html(query: Query) -> str:
    caption = f"<b>Query</b><br>{escape(query.label)}"
    stages = stage(f"Query: {query.label}", caption, "query", clip=query.clip)
    for neighbour in query.neighbours:
        cosine = f"cosine {neighbour.cosine:.2f}"
        if neighbour.right is None:
            stages += stage("Neighbour", cosine, clip=neighbour.clip)
            continue
        kind, sign, word = ("right", "✓", "same class") if neighbour.right else ("wrong", "✗", "another class")
        caption = f"<b class='sign'>{sign}</b> <b>{escape(neighbour.label)}</b><br>{word} · {cosine}"
        stages += stage(f"Neighbour, {word}: {neighbour.label}", caption, kind, clip=neighbour.clip)
    return f"<div class='neighbours'>{stages}</div>"


def stage(label: str, caption: str, kind: str = "", **data: object) -> str:
    """Return a figure in which a clip is played.

    Args:
        label: what a screen reader says of it, plain text.
        caption: HTML.
        kind: class of the figure.
        data: what the player is told, by name.
    """
    attributes = " ".join(f"data-{name}='{value}'" for name, value in data.items())
    return (
        f"<figure{f' class={kind!r}' if kind else ''}><canvas tabindex='0' role='img' {attributes} "
        f"aria-label='{escape(label, quote=True)}'></canvas><figcaption>{caption}</figcaption></figure>"
    )


def toolbar(reel: Reel, further: str = "") -> str:
    """Return the tool bar of a group of canvases that play a reel, with what else belongs into it.

    What is in two dimensions is shown as it was seen, and has no views to choose from.
    """
    speeds = "".join(f"<option value='{v}'{' selected' if v == '1' else ''}>{name} ×</option>" for v, name in _SPEEDS)
    views = "".join(f"<option value='{value}'>{name}</option>" for value, name in _VIEWS)
    view = "" if reel.is_flat else f"<label>View <select data-do='view'>{views}</select></label>"
    return (
        "<div class='toolbar' role='group' aria-label='Playback'><button data-do='play'>▶ Play</button>"
        f"{further}<label>Speed <select data-do='speed'>{speeds}</select></label>{view}</div>"
    )


def _length(size: float, unit: str) -> str:
    return f"{1000 * size:.0f} mm" if unit == "m" else f"{size:.2f} {unit}"
