"""`marrow predict`: what is done in recordings, by a recogniser or by a few examples."""

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.import_recordings import add_reading_options, reading_options
from marrow.cli.main import EXIT_FAILED
from marrow.cli.next_step import same_command, say_next
from marrow.errors import ConfigError, DataError, did_you_mean
from marrow.files import check_exists, check_writable, did_you_mean_path
from marrow.weights import SHIPPED

_log = logging.getLogger(__name__)

# From recordings to answers, and those that cannot be used.
Ask = Callable[[Iterator[Any]], Iterator[Any]]


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow predict",
        "Name what is done in recordings: the most probable classes with their probabilities, of each file, of each "
        "person where there are several, and of each window with --every. MODEL is a run directory of `marrow "
        "finetune`; or, with --examples, an encoder, which is left as it is. What lies too far from everything that "
        "was learned is called unknown. Example: marrow predict general walk.bvh --examples my_examples --every 2, "
        "where my_examples/wave, my_examples/kick, ... hold a few recordings each.",
    )
    parser.add_argument(
        "model",
        type=str,
        metavar="MODEL",
        help="run directory of `marrow finetune`; with --examples an encoder: a run directory, its folder, or a name",
    )
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="files and folders of any format that `marrow import` "
        "knows, and stores"
    )  # fmt: skip
    parser.add_argument(
        "--examples",
        type=Path | None,
        default=None,
        metavar="FOLDER",
        help="a few recordings in folders that are named after their classes, or a labelled store, or some of its "
        "clips (stores/mine:xsub/train): nothing is trained but a logistic regression. The options below are not for "
        "these: where they need some, `marrow import` them first",
    )
    parser.add_argument(
        "--every", type=float | None, default=None, metavar="SECONDS", help="ask about each window of this length"
    )
    parser.add_argument(
        "--segments",
        action="store_true",
        help="say when what is done in long recordings: MODEL is a detector, which `marrow evaluate --tasks "
        "action_detection --keep FOLDER` leaves in FOLDER/action_detection",
    )
    parser.add_argument("--top", type=int, default=3, help="classes of an answer, the most probable ones")
    parser.add_argument("--csv", type=Path | None, default=None, metavar="FILE", help="write the answers as a table")
    parser.add_argument(
        "--json", type=Path | None, default=None, metavar="FILE", help="write the answers as JSON, one object a line"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add_reading_options(parser, left_out=("labels", "pattern"))
    return parser


def run(arguments: Namespace) -> int:
    """Read, ask the model, and print or write what it says."""
    for option, least in (("every", 0.0), ("top", 0)):
        if arguments[option] is not None and arguments[option] <= least:
            raise ConfigError(f"--{option} must be positive, got {arguments[option]}")
    outputs = [path for path in (arguments.csv, arguments.json) if path is not None]
    for path in outputs:
        _check_output(path, overwrite=arguments.overwrite)
    # What is misspelt is said before torch is loaded and examples are read: that takes long.
    model = Path(arguments.model)
    if arguments.model not in SHIPPED and not model.exists():
        shipped = did_you_mean(arguments.model, SHIPPED)
        meant = f".{shipped}" if shipped else did_you_mean_path(model)
        raise ConfigError(f"expected a model: its folder, or {', '.join(SHIPPED)}; there is no {model}{meant}")
    if not any(path.exists() for path in arguments.paths):
        check_exists(arguments.paths[0], "a file, a folder of recordings or a store")
    if arguments.examples is not None and not arguments.examples.exists():
        folder = Path(str(arguments.examples).partition(":")[0])  # behind a store may stand which of its clips
        check_exists(folder, "--examples to be a folder that holds one folder per class, or a store")
    if "torch" not in sys.modules:
        _log.info("loading PyTorch: a few seconds, up to a minute where the disk is slow")
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.cli.console import output
    from marrow.files import write_text_whole
    from marrow.use.answers import as_csv, as_json_lines, show
    from marrow.use.inputs import Input, Unreadable, inputs_of
    from marrow.use.predict import Answer

    options = reading_options(arguments)

    def inputs() -> Iterator[Input | Unreadable]:
        for path in arguments.paths:
            try:
                yield from inputs_of(path, options)
            except DataError as error:
                if len(arguments.paths) == 1:
                    raise
                yield Unreadable(str(path), str(error))

    asked, sentences = _by_detector(arguments) if arguments.segments else _by_labeller(arguments)
    answers: list[Answer] = []
    unreadable = 0
    for answer in asked(inputs()):
        if isinstance(answer, Answer):
            answers.append(answer)
        else:
            unreadable += 1
            print(f"! {answer.problem}", file=sys.stderr)
    if not answers:
        raise DataError(
            f"there is nothing to ask about in {', '.join(map(str, arguments.paths))}: "
            f"{'no recording can be used' if unreadable else 'there is no recording'}"
        )
    if arguments.csv is not None:
        write_text_whole(arguments.csv, as_csv(answers))
    if arguments.json is not None:
        write_text_whole(arguments.json, as_json_lines(answers))
    if not outputs:
        # A file or a pipe has no width: nothing is folded there.
        nothing = "no action is found" if arguments.segments else "nobody is seen"
        show(answers, output(), nothing)
    for path in outputs:
        print(f"{path}: {len(answers)} answers")
    examples = len({(answer.file, answer.recording) for answer in answers if answer.is_example})
    if examples:
        asked_about = len({(answer.file, answer.recording) for answer in answers})
        which = f"{examples} of the {asked_about} recordings"
        sentences.append(f"{which} are examples themselves, and marked: their answers say nothing about new recordings")
    if unreadable:
        which = "1 recording" if unreadable == 1 else f"{unreadable} recordings"
        sentences.append(f"{which} could not be used (! above), so that the exit status is {EXIT_FAILED}")
    unknown = sum(answer.is_unknown is True for answer in answers)
    if 2 * unknown > len(answers):
        sentences.append(
            f"{unknown} of {len(answers)} answers are unknown: the recordings are unlike those that were learned from, "
            "or these are too few; the class that comes first stands beside each"
        )
    for sentence in sentences:
        print(f"- {sentence}", file=sys.stderr)
    if not outputs:
        names = (Path(f"answers{number or ''}.csv") for number in count())
        free = next(name for name in names if not name.exists())
        say_next(*same_command(build_parser(), arguments, csv=free))
    elif arguments.csv is not None:
        print(f"next: open {arguments.csv} in a spreadsheet")
    else:
        print(f"next: in Python, import json; [json.loads(line) for line in open({str(arguments.json)!r})]")
    return EXIT_FAILED if unreadable else 0


def _by_labeller(arguments: Namespace) -> tuple[Ask, list[str]]:
    """Return what asks a recogniser or examples, and what its answers rest on."""
    from marrow.use.examples import open_labeller
    from marrow.use.labeller import KEEPS_NOTHING
    from marrow.use.predict import predict

    labeller = open_labeller(arguments.model, arguments.examples, arguments.device, every=arguments.every)
    sentences = [KEEPS_NOTHING] if labeller.known is None else labeller.known.sentences()
    return partial(predict, labeller, model=arguments.model, every=arguments.every, top=arguments.top), sentences


def _by_detector(arguments: Namespace) -> tuple[Ask, list[str]]:
    """Return what asks a detector, and what its answers rest on."""
    from marrow.use.segments import SegmentFinder

    for option in ("examples", "every"):
        if arguments[option] is not None:
            raise ConfigError(f"--segments asks a detector about whole recordings: leave out --{option}")
    finder = SegmentFinder.load(Path(arguments.model), arguments.device)
    said = "a probability is the mean over the frames of the segment; it is not calibrated, and nothing is ever unknown"
    return partial(finder.segments, model=arguments.model), [said]


def _check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before anything is computed."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is already there; give another name, or --overwrite to replace it")
    check_writable(path)
