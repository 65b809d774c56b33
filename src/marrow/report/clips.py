"""Which clips a page shows, and what a run says of them: places on a map, neighbours, hidden joints and predictions."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64

from marrow.data.draws import Draws
from marrow.data.sampling import evaluation_batches
from marrow.data.subsets import protocol_rows
from marrow.errors import ConfigError, MarrowError
from marrow.models.export import load_encoder
from marrow.pretraining import load_objective
from marrow.report.classes import main_reports
from marrow.report.runs import Run
from marrow.store.format import Store
from marrow.tasks.encoders import store_for
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.features import extract
from marrow.viewer.motion import Reel, pack_motion

_log = logging.getLogger(__name__)

Rows = Int64[np.ndarray, " _"]

# Clips on the map; training clips to look for neighbours among; queries, neighbours of each; pictures of predictions.
MAP_CLIPS, GALLERY_CLIPS, QUERIES, NEIGHBOURS, PICTURES = 240, 800, 6, 3, 4
MOST_MAP_CLIPS = 300
_MAX_FRAMES, _MIN_FRAMES = 60, 12
# Of untrimmed recordings a part is played: a few frames of minutes would be no motion.
_LONGEST_SECONDS, _PART_SECONDS = 20.0, 6.0
# All clips together, before compression. With plotly's 2 MB a page stays well below 10 MB.
_MAX_BYTES = 4_500_000


@dataclass(frozen=True)
class MapPoint:
    """A clip on the map.

    Args:
        clip: its number on the reel.
        name: id of the clip.
        label: its class.
        predicted: the class that it was given; None where nobody asked.
        x: place.
        y: place.
    """

    clip: int
    name: str
    label: str
    predicted: str | None
    x: float
    y: float


@dataclass(frozen=True)
class Neighbour:
    """A clip near a query.

    Args:
        clip: its number on the reel.
        label: its class.
        right: whether that is the query's class; None where clips have no label.
        cosine: of its features with the query's.
    """

    clip: int
    label: str
    right: bool | None
    cosine: float


@dataclass(frozen=True)
class Query:
    """A clip and its nearest neighbours."""

    clip: int
    label: str
    neighbours: list[Neighbour]


@dataclass(frozen=True)
class Prediction:
    """A window, what of it was hidden, and what was predicted there.

    Args:
        clip: the truth's number on the reel.
        predicted: the prediction's; it has joints where they were hidden.
        visible: that of what the encoder saw.
        label: class of the clip.
        hidden_percent: share of the joints that was hidden.
        error: mean distance of predicted and true positions at hidden joints, in units of the window.
    """

    clip: int
    predicted: int
    visible: int
    label: str
    hidden_percent: float
    error: float


@dataclass
class ShownClips:
    """All that a page shows of recordings.

    Args:
        reel: the clips.
        source: the reader that they came from.
        points: the map.
        map_kind: what the map shows, in a sentence.
        queries: clips with their neighbours.
        queries_kind: what they show, in a sentence.
        predictions: pictures.
        predictions_note: what of the truth went into them.
        unit: of the windows: metres, or the trunk where the alignment scales.
        notes: what is missing, and why.
    """

    reel: Reel
    source: str
    points: list[MapPoint] = field(default_factory=list)
    map_kind: str = ""
    queries: list[Query] = field(default_factory=list)
    queries_kind: str = ""
    predictions: list[Prediction] = field(default_factory=list)
    predictions_note: str = ""
    unit: str = "m"
    notes: list[str] = field(default_factory=list)


def gather_clips(run: Run, store: Store, device: str = "auto", map_clips: int = MAP_CLIPS) -> ShownClips:
    """Choose clips of a store and ask a run about them.

    Args:
        run: the run; what it has not yet is left out, and noted.
        store: the data.
        device: where features are extracted.
        map_clips: clips on the map.
    """
    if not 1 <= map_clips <= MOST_MAP_CLIPS:
        raise ConfigError(f"the map takes 1 to {MOST_MAP_CLIPS} clips, got {map_clips}")
    evaluation = next((report for report in run.evaluations if report.store == store.fingerprint), None)
    train, test = _rows(run, store, evaluation)
    chosen = _spread_over_classes(store, test if len(test) else train, map_clips)
    gallery = np.sort(np.random.default_rng(1).permutation(train)[:GALLERY_CLIPS])
    shown = ShownClips(Reel(store.skeleton), store.source)
    bodies = float(np.asarray(store.body_count).mean())
    frames = frames_per_clip(len(chosen) + QUERIES * NEIGHBOURS, bodies, len(store.skeleton.joints))
    clips = ClipsOnReel(store, shown.reel, frames)
    if run.description is None:
        shown.notes.append(f"{run.name} has no encoder yet: it is neither finished nor interrupted.")
    else:
        try:
            features = _features(run, store, np.union1d(chosen, gallery), device)
            of_chosen, of_gallery = (np.stack([features[row] for row in rows.tolist()]) for rows in (chosen, gallery))
            _add_map(shown, run, clips, chosen, of_chosen, evaluation)
            drawn = "" if len(gallery) == len(train) else " drawn at random"
            _add_queries(shown, clips, chosen, gallery, of_chosen @ of_gallery.T, drawn)
        except MarrowError as error:
            shown.notes.append(f"No map and no neighbours: {error}.")
    try:
        _add_predictions(shown, run, clips, chosen)
    except MarrowError as error:
        shown.notes.append(f"No pictures of predictions: {error}.")
    return shown


class ClipsOnReel:
    """Puts clips of the store on the reel, each once; of long recordings a part from the middle."""

    def __init__(self, store: Store, reel: Reel, frames: int) -> None:
        self.store, self._reel, self._frames = store, reel, frames
        self._known: dict[int, int] = {}

    def number(self, row: int) -> int:
        """Return the number of a row's clip on the reel."""
        if row not in self._known:
            joints, present = self.store.frames(row)
            fps, part = float(self.store.fps[row]), slice(None)
            if joints.shape[1] > _LONGEST_SECONDS * fps:
                half = round(_PART_SECONDS * fps / 2)
                part = slice(joints.shape[1] // 2 - half, joints.shape[1] // 2 + half)
            track = (np.array(joints[:, part]), np.array(present[:, part]))
            [motion] = pack_motion([track], self.store.skeleton, fps, self._frames)
            self._known[row] = self._reel.add(motion)
        return self._known[row]

    def label(self, row: int) -> str:
        """Return the class of a row's clip."""
        label = int(self.store.label[row])
        return self.store.classes[label] if 0 <= label < len(self.store.classes) else "no label"


def _rows(run: Run, store: Store, evaluation: EvaluationReport | None) -> tuple[Rows, Rows]:
    """Return the rows of the protocol that a run was scored on, else of the one that it was trained on, else all."""
    protocol = evaluation.protocol if evaluation else run.settings.get("protocol")
    everything = np.arange(len(store), dtype=np.int64)
    if protocol is not None:
        try:
            train, test = protocol_rows(store, protocol)
            return np.asarray(train, np.int64), np.asarray(test, np.int64)
        except ConfigError:
            pass  # all folds of leave-one-out: every clip is tested, and every clip is trained on
    return everything, everything if evaluation else everything[:0]


def _spread_over_classes(store: Store, rows: Rows, count: int) -> Rows:
    """Draw clips so that every class has as many as possible: first one of each, then a second, and so on."""
    drawn = np.random.default_rng(0).permutation(rows)
    label = np.asarray(store.label)[drawn]
    turn = np.empty(len(drawn), np.int64)
    for value in np.unique(label):
        turn[label == value] = np.arange(int((label == value).sum()))
    return np.sort(drawn[np.argsort(turn, kind="stable")[:count]])


def frames_per_clip(clips: int, bodies: float, joints: int) -> int:
    """Return how many frames of each clip fit into a page, at two bytes per number."""
    return int(np.clip(_MAX_BYTES / (6 * bodies * joints * max(clips, 1)), _MIN_FRAMES, _MAX_FRAMES))


def _features(run: Run, store: Store, rows: Rows, device: str) -> dict[int, Float[np.ndarray, " dim"]]:
    """Return the pooled features of some rows, of length one."""
    encoder = load_encoder(run.folder)
    store = store_for(encoder, store, run.name)
    _log.info("encoding %d clips for the map and the neighbours", len(rows))
    table = extract(encoder, store, rows, device=device, precision="fp32")
    return dict(zip(rows.tolist(), torch.nn.functional.normalize(table.pooled, dim=1).numpy(), strict=True))


def _add_map(
    shown: ShownClips,
    run: Run,
    clips: ClipsOnReel,
    chosen: Rows,
    features: Float[np.ndarray, "chosen dim"],
    evaluation: EvaluationReport | None,
) -> None:
    predicted, store = _predictions_of(run, evaluation), clips.store
    for row, (x, y) in zip(chosen.tolist(), _flattened(features), strict=True):
        shown.points.append(MapPoint(clips.number(row), store.ids[row], clips.label(row), predicted.get(row), x, y))
    _, test = _rows(run, store, evaluation)
    total, kind = len(test) or len(store), "test clips" if len(test) else "clips"
    which = f"All {total:,}" if len(chosen) == total else f"{len(chosen)} of {total:,}"
    drawn = "" if len(chosen) == total else ", drawn over classes"
    shown.map_kind = (
        f"{which} {kind}{drawn}, by the pooled features of {run.name}: principal components, then t-SNE. Near means "
        "alike; distances between groups and their sizes mean little."
    )
    if bool((np.asarray(store.frame_count)[chosen] > _LONGEST_SECONDS * np.asarray(store.fps)[chosen]).any()):
        shown.map_kind += (
            f" Of recordings longer than {_LONGEST_SECONDS:.0f} seconds, {_PART_SECONDS:.0f} from the middle are "
            "played."
        )


def _add_queries(
    shown: ShownClips,
    clips: ClipsOnReel,
    chosen: Rows,
    gallery: Rows,
    cosine: Float[np.ndarray, "chosen gallery"],
    drawn: str,
) -> None:
    # Never the clip itself, which is among the training clips where no protocol keeps them apart.
    cosine[chosen[:, None] == gallery[None, :]] = -np.inf
    nearest = np.argsort(-cosine, axis=1)[:, :NEIGHBOURS]
    labels = np.asarray(clips.store.label)
    labelled = bool((labels[chosen] >= 0).all())
    is_right = labels[gallery[nearest[:, 0]]] == labels[chosen]
    for index in _queries(is_right, labels[chosen]):
        row, neighbours = int(chosen[index]), []
        for at in (at for at in nearest[index] if np.isfinite(cosine[index, at])):
            near = int(gallery[at])
            right = bool(labels[near] == labels[row]) if labelled else None
            neighbours.append(Neighbour(clips.number(near), clips.label(near), right, float(cosine[index, at])))
        shown.queries.append(Query(clips.number(row), clips.label(row), neighbours))
    shown.queries_kind = (
        f"Test clips and their nearest among {len(gallery):,} training clips{drawn}, by cosine of the pooled features."
    )
    if labelled:
        shown.queries_kind += (
            f" Of the {len(chosen)} clips on the map, {100 * is_right.mean():.0f} % have a nearest neighbour of their "
            "own class; below, as many right as wrong ones are shown, where there are both."
        )


def _flattened(features: Float[np.ndarray, "clip dim"]) -> list[tuple[float, float]]:
    """Return places on a plane: principal components, then t-SNE where there are enough clips for it."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(features)
    if count < 3:
        return [(float(index), 0.0) for index in range(count)]
    flat = PCA(min(50, count - 1, features.shape[1]), random_state=0).fit_transform(features.astype(np.float64))
    if count >= 12 and flat.shape[1] > 2:
        flat = TSNE(2, perplexity=min(30.0, count / 4), init="pca", random_state=0).fit_transform(flat)
    flat = np.pad(flat, ((0, 0), (0, max(0, 2 - flat.shape[1]))))[:, :2]
    flat = flat / max(float(np.abs(flat).max()), 1e-12)
    return [(round(float(x), 4), round(float(y), 4)) for x, y in flat]


def _predictions_of(run: Run, evaluation: EvaluationReport | None) -> dict[int, str]:
    """Return the class that the main head gave each test clip, by row."""
    if evaluation is None:
        return {}
    reports = [report for report in main_reports(evaluation, "trained") if report.fingerprints.get("run") == run.name]
    if not reports:
        return {}
    predicted = next(iter(reports[0].predictions.values()))
    return {row: evaluation.classes[label] for row, label in zip(evaluation.test_rows, predicted, strict=True)}


def _queries(is_right: np.ndarray, label: np.ndarray) -> list[int]:
    """Choose queries: right and wrong ones by turns, of as many classes as possible."""
    order = np.random.default_rng(2).permutation(len(is_right))
    chosen: list[int] = []
    for distinct in (True, False):
        for turn in range(2 * len(order)):
            if len(chosen) == min(QUERIES, len(order)):
                return chosen
            wanted = [
                int(index)
                for index in order
                if index not in chosen
                and (is_right[index] == (turn % 2 == 0))
                and not (distinct and label[index] in label[chosen])
            ]
            chosen += wanted[:1]
    return chosen


def _add_predictions(shown: ShownClips, run: Run, clips: ClipsOnReel, chosen: Rows) -> None:
    """Ask the run's objective about some windows."""
    store = clips.store
    if not (run.folder / "checkpoints").is_dir():
        shown.notes.append(f"No pictures of predictions: {run.name} keeps no checkpoint with its decoder.")
        return
    objective = load_objective(run.folder)
    window, store = objective.encoder.input, store_for(objective.encoder, store, run.name)
    if window.stream != "joint":
        shown.notes.append(f"No pictures of predictions: the input is the stream {window.stream!r}, not positions.")
        return
    rows = _typical(store, chosen)
    [batch] = evaluation_batches(store, rows, window, len(rows), "cpu")
    with torch.no_grad():
        draw = objective.sample(batch, Draws(seed=0, step=0, index=torch.arange(len(batch))))
        picture = objective.explain(batch, draw)
    without_scale = "m" if store.skeleton.dimensions == 3 else "units of the store"
    is_scaled = window.alignment in ("body", "pair")
    shown.predictions_note, shown.unit = picture.note, "trunk lengths" if is_scaled else without_scale
    # Where more is hidden, there is more to see: joints that were absent now and then leave less to hide.
    share = (picture.hidden.sum((1, 2, 3)) / picture.present.sum((1, 2, 3)).clamp(min=1)).tolist()
    for index in sorted(range(len(rows)), key=lambda place: -round(share[place], 1))[:PICTURES]:
        row = int(rows[index])
        frames = int(batch.frames()[index])
        drawn = (picture.joints.float(), picture.present, picture.hidden, picture.predicted.float(), picture.visible)
        joints, present, hidden, predicted, visible = (values[index, :, :frames].numpy() for values in drawn)
        if not hidden.any():
            continue
        seconds = window.test_crop * int(store.frame_count[row]) / float(store.fps[row])
        tracks = [(joints, present), (predicted, hidden), (joints, visible)]
        if store.brought is not None:  # pictures are of the layout of the recordings
            tracks = [store.brought.undo(*track, len(clips.store.skeleton.joints)) for track in tracks]
        truth, guess, seen = pack_motion(tracks, clips.store.skeleton, frames / seconds, _MAX_FRAMES)
        error = float(np.linalg.norm(predicted - joints, axis=-1)[hidden].mean())
        shown.predictions.append(
            Prediction(
                shown.reel.add(truth),
                shown.reel.add(guess),
                shown.reel.add(seen),
                clips.label(row),
                100.0 * share[index],
                error,
            )
        )
    if not shown.predictions:
        shown.notes.append(f"No pictures of predictions: {run.method} hides nothing.")


def _typical(store: Store, chosen: Rows) -> Rows:
    """Return, for at most 16 classes, the clip with the median of motion; the liveliest classes first."""
    label = np.asarray(store.label)
    moves = {int(row): float(np.array(store.frames(int(row))[0])[0].std(axis=0).mean()) for row in chosen}
    of_class: dict[int, list[int]] = {}
    for row in sorted(moves, key=lambda row: moves[row]):
        of_class.setdefault(int(label[row]), []).append(row)
    middle = [rows[len(rows) // 2] for rows in of_class.values()]
    return np.array(sorted(middle, key=lambda row: -moves[row])[:16], np.int64)
