"""A query and its nearest motions on one HTML page, playing side by side."""

from html import escape
from pathlib import Path

import numpy as np

from marrow.files import write_text_whole
from marrow.models.encoder import Encoder
from marrow.report.figures import Figures
from marrow.report.motion import stage, toolbar
from marrow.report.page import page_html
from marrow.report.style import card, paragraphs
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store
from marrow.tasks.encoders import store_for
from marrow.use.neighbours import Answer, class_of, part_of
from marrow.viewer.motion import Reel, pack_motion

_MAX_FRAMES = 120
_HOW_TO_READ = (
    "<b>How to read this.</b> Distance is 1 - cosine of the features of an encoder, standardised over everything that "
    "was searched: 0 is the same, 1 has nothing in common, 2 is the opposite. Near means alike to the encoder; it does "
    "not mean that anybody would call the two motions alike."
)


def write_neighbours(answer: Answer, store: Store, encoder: Encoder, out: Path) -> Path:
    """Write the page.

    Args:
        answer: from `marrow.use.neighbours.find_neighbours`.
        store: that was searched.
        encoder: that was asked; its layout is drawn where the query and the store have different ones.
        out: the page.
    """
    question = answer.question
    query = question.motion
    if query.skeleton.joints != store.skeleton.joints:
        [query], store = encoder.readable([query]), store_for(encoder, store, "the encoder")
    reel = Reel(store.skeleton)
    when = f"{question.start_seconds:.1f} to {question.end_seconds:.1f} s"
    caption = f"<b>Query</b><br>{escape(question.name)}<br>{when}"
    stages = stage(f"Query: {question.name}", caption, "query", clip=_add(reel, query))
    for rank, hit in enumerate(answer.hits, start=1):
        sequence, fps = store.sequence(hit.row), float(store.fps[hit.row])
        motion = part_of(sequence, round(hit.start_seconds * fps), round(hit.end_seconds * fps))
        name = class_of(store, hit)
        caption = (
            f"<b>{rank}. {escape(name or 'no class')}</b> · distance {hit.distance:.3f}<br>{escape(store.ids[hit.row])}"
            f"<br>{hit.start_seconds:.1f} to {hit.end_seconds:.1f} s"
        )
        stages += stage(f"Neighbour {rank}: {name}", caption, clip=_add(reel, motion))
    figures = Figures(data={"reel": reel.payload()})
    lead = f"The nearest of {answer.count:,} motions of {store.path.name}, the nearest first."
    content = f"<div class='players'>{toolbar(reel)}<div class='neighbours'>{stages}</div></div>"
    terms = "This page holds motion of recordings: mind their terms before you pass it on."
    body = card("Nearest motions", content, lead=lead, wide=True)
    body += paragraphs([*(f"{note[:1].upper()}{note[1:]}." for note in answer.notes), terms], "note")
    page = page_html(f"Neighbours of {question.name}", body, figures, how_to_read=_HOW_TO_READ)
    write_text_whole(out, page)
    return out


def _add(reel: Reel, motion: SkeletonSequence) -> int:
    track = (np.array(motion.joints), np.array(motion.present))
    return reel.add(pack_motion([track], reel.skeleton, motion.fps, _MAX_FRAMES)[0])
