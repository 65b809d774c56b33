"""Answers as a table for people, as CSV, and as JSON, one object a line."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marrow.use.predict import Answer


def show(answers: Sequence[Answer], console: Console, nothing: str) -> None:
    """Print a table; where an answer names no class, it says `nothing`."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    several = any(answer.person is not None for answer in answers)
    table.add_column("recording", overflow="fold")
    if several:
        table.add_column("person")
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    table.add_column("probabilities", overflow="fold")
    before = None
    for answer in answers:
        cells = ["" if (answer.file, answer.recording) == before else answer.recording]
        if several:
            cells.append("all" if answer.person is None else str(answer.person))
        cells.append(f"{answer.start_seconds:.1f} to {answer.end_seconds:.1f}")
        cells.append((answer.label or nothing) + (" (an example)" if answer.is_example else ""))
        cells.append(", ".join(f"{name} {probability:.2f}" for name, probability in answer.classes))
        table.add_row(*(Text(cell) for cell in cells))  # Text, so that a bracket in a name is not taken for markup
        before = (answer.file, answer.recording)
    console.print(table)


def as_object(answer: Answer) -> dict[str, Any]:
    """Return an answer as `--json` writes it; `docs/use.md` has the schema."""
    return {
        "file": answer.file,
        "raw_file": answer.raw_file or None,
        "recording": answer.recording,
        "person": answer.person,
        "start_seconds": round(answer.start_seconds, 3),
        "end_seconds": round(answer.end_seconds, 3),
        "answer": answer.label,
        "classes": [{"name": name, "probability": round(value, 6)} for name, value in answer.classes],
        "distance": None if answer.distance is None else round(answer.distance, 6),
        "unknown": answer.is_unknown,
        "example": answer.is_example,
    }


def as_json_lines(answers: Sequence[Answer]) -> str:
    """Return one object a line."""
    return "".join(json.dumps(as_object(answer), ensure_ascii=False) + "\n" for answer in answers)


def as_csv(answers: Sequence[Answer]) -> str:
    """Return a table with a header: one row per answer, two columns per class of it."""
    most = max((len(answer.classes) for answer in answers), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    of_classes = [f"{kind}_{place}" for place in range(1, most + 1) for kind in ("class", "probability")]
    fixed = ["file", "raw_file", "recording", "person", "start_seconds", "end_seconds"]
    fixed += ["answer", "unknown", "distance", "example"]
    writer.writerow([*fixed, *of_classes])
    for answer in answers:
        values = as_object(answer)
        pairs = [part for entry in values["classes"] for part in (entry["name"], entry["probability"])]
        writer.writerow(["" if value is None else value for value in [*(values[name] for name in fixed), *pairs]])
    return text.getvalue()
