"""A number says what it is: its task declares it once, and tables, pages and comparisons lay it out.

A `Quantity` says what is measured (words, unit, which direction is better), an `About` what the reports of a task are
about (title, plot, what stands beside them). Both are written into the report, so that whoever reads it needs neither
the task nor the names of its numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from marrow.errors import ConfigError

Clips = Literal["official", "clean"]
Better = Literal["higher", "lower"]
Plot = Literal["bars", "labels", "curves"]


@dataclass(frozen=True)
class Quantity:
    """What a number is.

    Args:
        words: in a sentence, without the unit: "mean average precision".
        unit: as it is written after numbers: "%", "mm"; "" where there is none.
        better: which numbers are better; None where neither is.
        heading: the words where there is little room; "": the words themselves.
        clips: "official": over all that is tested; "clean": without copies of training clips.
        of: name of the number that this one is another reading of: without copies, under another condition.
        reading: what sets it apart from that number where it is not the clips: "actions reordered", "best".
        small_print: how it is said below that number, with {} for the figure; "": it has a row of its own.
        chosen_on_test: whether test labels chose it, as the best epoch is: too high by construction, and never ranked.
        predictions: name of the predictions of one class per clip that are scored; "" for every other number.
        at: place on the axis of a curve (`About.axis`).
        chart: title of the chart that the curve is drawn in.
    """

    words: str
    unit: str = ""
    better: Better | None = None
    heading: str = ""
    clips: Clips = "official"
    of: str = ""
    reading: str = ""
    small_print: str = ""
    chosen_on_test: bool = False
    predictions: str = ""
    at: float | None = None
    chart: str = ""

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower", None):
            raise ConfigError(f"a quantity is better when it is 'higher' or 'lower', or None; got {self.better!r}")

    @property
    def short(self) -> str:
        """What stands above a narrow column."""
        return self.heading or self.words

    @property
    def unit_words(self) -> str:
        """Unit, and which numbers are better, in words."""
        unit = {"%": "percent"}.get(self.unit, self.unit)
        return ", ".join([unit] * bool(unit) + [f"{self.better} is better"] * (self.better is not None))

    def without_copies(self, name: str) -> "Quantity":
        """Return the same quantity over the test clips that are no copies of training clips."""
        return replace(
            self, words=f"{self.words}, without copies", heading=f"{self.short}, clean", clips="clean", of=name
        )

    def under(self, condition: str, name: str) -> "Quantity":
        """Return the same quantity under another condition."""
        words, heading = f"{self.words}, {condition}", f"{self.short}, {condition}"
        return replace(self, words=words, heading=heading, of=name, reading=condition)


@dataclass(frozen=True)
class About:
    """What the reports of a task are about.

    Args:
        kind: name of the task; what has the same stands on one card.
        title: of the card, and of tables.
        plot: "bars"; "labels": curves over the number of labels; "curves": over `axis`.
        columns: names of the main numbers, as columns of a comparison, whose rows are sorted by the first; none: the
            first eight.
        drawn: names of the numbers that are drawn where there are many, the most important one first; none: the first
            eight.
        headline: names of numbers, of which the first that is there stands for the task where there is room for one;
            none: the first column.
        lead: a sentence or two below the title.
        axis: title of the horizontal axis of curves, whose unit follows the places: "ms ahead".
        way: how it was learned, where a task has several ways.
        variant: what a report differs in from others of the task and the same source.
        test_set: what it was tested on, where a task has several sets; they are never mixed.
        rule: name of a baseline that follows a rule of its own instead of an encoder: "zero velocity".
        beside: task of raw coordinates whose top-1 score stands beside this one's; "": none.
        label: the task and its variant above a column: "linear probe, pooled"; "": the title, and what it differs in.
        by_class: whether charts by class may show it where another task could be shown.
    """

    kind: str
    title: str
    plot: Plot = "bars"
    columns: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    lead: str = ""
    axis: str = ""
    way: str = ""
    variant: str = ""
    test_set: str = ""
    rule: str = ""
    beside: str = ""
    label: str = ""
    by_class: bool = True

    @property
    def name(self) -> str:
        """What stands above a column of its scores."""
        return self.label or ", ".join([self.title[:1].lower() + self.title[1:], *self.variants])

    @property
    def variants(self) -> tuple[str, ...]:
        """What a report differs in from others of the task, in words."""
        return tuple(part for part in (self.rule, self.variant, self.test_set) if part)

    @classmethod
    def undeclared(cls, task: str) -> "About":
        """Describe a report whose task says nothing: by the name of the task, and of the variant after the slash."""
        kind, _, variant = task.partition("/")
        title = kind.replace("_", " ").capitalize()
        return cls(kind, title, variant="" if variant == "pooled" else variant, label=label_of(task))

    @classmethod
    def of_recognition(cls, task: str) -> "About":
        """Describe a task that gives every clip a class, and stands beside linear heads on raw coordinates."""
        return replace(cls.undeclared(task), beside="ridge/raw")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], task: str) -> "About":
        """Rebuild what JSON has made lists of; reports before these fields have the label and charts of their task."""
        values = {"label": label_of(task), "by_class": values["kind"] != "knn", **values}
        fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
        return cls(**fields)


def label_of(task: str) -> str:
    """Return the label of a task that is called by its name: linear probe, pooled."""
    return task.replace("/", ", ").replace("_", " ")


@dataclass(frozen=True)
class Number:
    """A number over seeds, and what it is: the one value that tables, pages and comparisons lay out.

    Args:
        source: "trained", "random" (the same encoder without pre-training) or "raw" (no encoder).
        task: name of the task and variant.
        name: of the number, or of the predictions that it scores.
        quantity: what it is.
        about: what its task is.
        mean: over seeds.
        std: sample standard deviation over seeds; 0 for a single one.
        low: lower end of the 95 % interval over what was tested; None where the task gives none.
        high: upper end.
        by_seed: each seed's number.
        draws_std: sample standard deviation over draws of the labels, mean over seeds; None where there is one draw.
    """

    source: str
    task: str
    name: str
    quantity: Quantity
    about: About
    mean: float
    std: float
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    draws_std: float | None = None

    @property
    def text(self) -> str:
        """Mean and, with several seeds, the deviation over them; without the unit."""
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if len(self.by_seed) > 1 else "")

    @property
    def text_with_draws(self) -> str:
        """The same; of a single seed, with the deviation over draws of the labels."""
        return self.text + (f" (draws ± {self.draws_std:.1f})" if self.shows_draws else "")

    @property
    def shows_draws(self) -> bool:
        """Whether its deviation is that over draws: of a single seed."""
        return self.draws_std is not None and len(self.by_seed) == 1

    @property
    def text_in_line(self) -> str:
        """The same with unit and interval."""
        interval = "" if self.low is None else f" [{self.low:.1f}, {self.high:.1f}]"
        return f"{self.text} {self.quantity.unit}{interval}"

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the interval over what was tested; where there is none, of the deviation over seeds."""
        if self.low is None or self.high is None:
            return self.mean - self.std, self.mean + self.std
        return self.low, self.high

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        described = {name: getattr(self.quantity, name) for name in ("words", "unit", "better", "clips")}
        figures = {name: getattr(self, name) for name in ("mean", "std", "low", "high", "by_seed", "draws_std")}
        return {"source": self.source, "task": self.task, "name": self.name, **described, **figures}


def plain_values(value: Any) -> Any:
    """Return numbers, and what holds them, as plain values."""
    if isinstance(value, Number):
        return value.plain()
    if isinstance(value, Mapping):
        return {name: plain_values(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(part) for part in value]
    if is_dataclass(value):
        return {field.name: plain_values(getattr(value, field.name)) for field in fields(value)}
    return value


# What predictions of one class per clip are scored by, by the name that a report gives them.
TOP1 = {
    "top1": Quantity("top-1 accuracy", "%", "higher", predictions="top1"),
    "top1_last": Quantity("top-1 accuracy", "%", "higher", reading="last", predictions="top1_last"),
    "top1_best": Quantity(
        "top-1 accuracy of the best epoch (too high by construction)",
        "%",
        "higher",
        reading="best",
        small_print="best epoch {}",
        chosen_on_test=True,
        predictions="top1_best",
    ),
}
DRAWS_STD = Quantity(
    "deviation of top-1 accuracy over draws of labels",
    "%",
    of="top1_percent",
    small_print="± {} over draws",
    predictions="top1",
)


def scored_by(predictions: str) -> Quantity:
    """Return what predictions of one class per clip are scored by; those that no test label chose have any name."""
    return TOP1.get(predictions) or replace(TOP1["top1"], reading=predictions, predictions=predictions)
