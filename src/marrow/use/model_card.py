"""The card of a packed model: what it is, what it reads, where it came from, whose terms hold, what it scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from marrow.models.packed import WEIGHTS, Packed
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number
from marrow.tasks.summary import measures, scores

_HEAD = ("task", "protocol", "number", "this model", "random weights", "no encoder")


def model_card(packed: Packed, name: str, *, scores: Sequence[Sequence[str]] = (), terms: str = "") -> str:
    """Return the card as Markdown, with the front matter of the Hugging Face hub.

    Args:
        packed: the model.
        name: what it is called.
        scores: rows of `score_rows`.
        terms: of the data, as whoever packs it knows them; "": what the provenance tells.
    """
    head, provenance = packed.head, (packed.head or packed.encoder).get("provenance", {})
    lines = ["---", "library_name: marrow", "tags:", "- human-motion", "- skeleton", "---", "", f"# {name}", ""]
    lines += [*_what_it_is(packed), "", "## Use", "", "```python", "import marrow", ""]
    if head is None:
        lines += ['encoder = marrow.load_encoder("FOLDER")', 'features = encoder.embed(marrow.read("recording.bvh"))']
    else:
        lines += ['model = marrow.Recogniser.load("FOLDER")', 'chances = model.predict(marrow.read("recording.bvh"))']
    lines += ["```", "", "## What it reads", "", *_what_it_reads(packed.encoder), ""]
    lines += ["## Where it comes from", "", *_origin(provenance, packed.marrow), ""]
    lines += ["## Data and their terms", "", *_data(provenance, terms), "", "## Scores", ""]
    lines += _table(scores) if scores else ["None were measured where it was packed."]
    lines += ["", "## Files", "", f"`{WEIGHTS}`: SHA-256 `{packed.sha256()}`; checked whenever it is read.", ""]
    return "\n".join(lines)


def score_rows(evaluation: EvaluationReport) -> list[list[str]]:
    """Return rows of the table of scores: what a run scored on a protocol, beside its baselines.

    What was chosen on test clips is left out; of tasks with many numbers, the first that stands for them is given.
    """
    numbers = [number for number in scores(evaluation) if not number.quantity.chosen_on_test]
    of_measures = measures(evaluation)
    for about in dict.fromkeys(number.about.title for number in of_measures):
        of_task = [number for number in of_measures if number.about.title == about]
        main = next(iter(of_task[0].about.headline or of_task[0].about.columns), of_task[0].name)
        numbers += [number for number in of_task if number.name == main]
    rows = []
    for number in (number for number in numbers if number.source == "trained"):
        baselines = (("random", number.task), ("raw", number.about.beside))
        besides = [_beside(numbers, number, source, task) for source, task in baselines]
        protocol = f"{evaluation.protocol}, data {evaluation.store[:8]}"
        rows.append([number.about.name, protocol, number.quantity.words, _figure(number), *besides])
    return rows


def _beside(numbers: Sequence[Number], number: Number, source: str, task: str) -> str:
    """Return the figure of a baseline that stands beside a number; "" where there is none."""
    clips = number.quantity.clips
    same = (other for other in numbers if (other.source, other.task, other.quantity.clips) == (source, task, clips))
    return next((_figure(other) for other in same), "")


def _figure(number: Number) -> str:
    return f"{number.text} {number.quantity.unit}".strip()


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [_HEAD, tuple("---" for _ in _HEAD), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def _what_it_is(packed: Packed) -> list[str]:
    encoder, count = packed.encoder, sum(value.numel() for value in packed.weights.values())
    size = f"{encoder['kind'].replace('_', ' ')}, {count:,} parameters"
    if packed.head is None:
        return [f"An encoder of human motion ({size}): from a recording of skeletons to a vector."]
    classes = packed.head["classes"]
    return [
        f"A recogniser of human motion ({size}): from a recording of skeletons to the probabilities of "
        f"{len(classes)} classes.",
        "",
        f"Classes: {', '.join(classes)}.",
    ]


def _what_it_reads(encoder: Mapping[str, Any]) -> list[str]:
    layout, window = encoder["skeleton"], encoder["input"]
    pace = (
        f"every recording is resampled to {window['window_frames']} frames"
        if window["pace"] == "resized"
        else f"recordings keep their pace, up to {window['window_frames']} frames"
        + (f" at {window['fps']:g} per second" if window.get("fps") else "")
    )
    brought = layout["name"] == "body"
    by_place = " Recordings of other layouts are brought to it by the places of the body." if brought else ""
    return [
        f"- layout `{layout['name']}`, {len(layout['joints'])} joints, {layout['up']} up, metres.{by_place}",
        f"- {pace}; the middle {100 * window['test_crop']:.0f} % of a recording is read",
        f"- stream `{window['stream']}`, alignment `{window['alignment']}`; both are done when a recording is read",
    ]


def _origin(provenance: Mapping[str, Any], version: str) -> list[str]:
    said = {"method": "method", "recipe": "recipe", "protocol": "protocol", "rows": "recordings", "steps": "steps"}
    lines = [f"- {words}: {provenance[name]}" for name, words in said.items() if provenance.get(name) is not None]
    if provenance.get("seed") is not None:
        lines.append(f"- seed: {provenance['seed']}")
    return [*lines, f"- packed with marrow {version}"]


def _data(provenance: Mapping[str, Any], terms: str) -> list[str]:
    """Say what a model learned from, the recordings before fine-tuning included, and whose terms hold."""
    lines = []
    for origin in (provenance, provenance.get("before") or {}):
        stores = origin.get("stores") or []
        if not stores and origin.get("store_fingerprint"):
            name = (origin.get("settings") or {}).get("store") or "a store"
            stores = [{"name": name, "fingerprint": origin["store_fingerprint"], "clips": origin.get("clips")}]
        for store in stores:
            source = f", read as {store['source']}" if store.get("source") else ""
            clips = f", {store['clips']:,} clips" if store.get("clips") else ""
            lines.append(f"- {store['name']}{source}{clips}, fingerprint `{str(store['fingerprint'])[:16]}`")
    lines = list(dict.fromkeys(lines)) or ["It does not say what recordings it learned from."]
    if terms:
        return [*lines, "", terms]
    return [
        *lines,
        "",
        "The terms of these recordings hold for what was learned from them, and were not stated where this was packed: "
        "ask whoever passes it on. Motion made by marrow itself (`synthetic`) has none.",
    ]
