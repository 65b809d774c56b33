"""`marrow report`: the reports of runs as one HTML page."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow report",
        "Put the reports in RUN/reports/ and the loss curves of runs on one self-contained HTML page. Runs that differ "
        "only in their seed are summarised over seeds.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories that `marrow evaluate` has been over")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page to write")
    parser.add_argument("--title", type=str, default="marrow report", help="its heading")
    return parser


def run(arguments: Namespace) -> int:
    """Write the page and print where it is."""
    from marrow.report.page import write_report

    print(write_report(arguments.runs, arguments.out, title=arguments.title))
    return 0
