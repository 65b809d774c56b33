"""`marrow report`: what is known of runs, as one HTML page."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import check_page, make_parser
from marrow.cli.next_step import say_open


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow report",
        "Put scores, curves, a map of the features, predictions and neighbours of runs on one self-contained HTML "
        "page. Runs that differ only in their seed are summarised over seeds; runs that are not evaluated yet are "
        "shown without scores. Of a recogniser: its scores, and how sure its answers may be.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run directories of `marrow pretrain`, or of `marrow finetune`"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page to write")
    parser.add_argument("--title", type=str, default="marrow report", help="its heading")
    parser.add_argument(
        "--store",
        type=Path | None,
        default=None,
        help="the data, for the skeletons that move on the page (default: where the first run found it)",
    )
    parser.add_argument(
        "--no_clips", action="store_true", help="leave out moving skeletons: the page holds no motion of recordings"
    )
    parser.add_argument(
        "--map_clips", type=int, default=240, help="clips on the map, at most 300; fewer: a smaller page"
    )
    parser.add_argument("--device", type=str, default="auto", help="where features are extracted: auto, cpu, cuda, ...")
    return parser


def run(arguments: Namespace) -> int:
    """Write the page and print where it is."""
    check_page(arguments.out)
    from marrow.report.page import write_report

    page = write_report(
        arguments.runs,
        arguments.out,
        title=arguments.title,
        store=arguments.store,
        clips=not arguments.no_clips,
        device=arguments.device,
        map_clips=arguments.map_clips,
    )
    print(page)
    say_open(page)
    return 0
