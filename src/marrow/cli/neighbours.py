"""`marrow neighbours`: the motions of a store that are nearest to one, as clips or inside long recordings."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import check_page, make_parser
from marrow.cli.next_step import say_open
from marrow.errors import ConfigError


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow neighbours",
        "Find the motions of a store that are nearest to one. Whole clips are compared; with --within, windows: "
        "`marrow neighbours runs/first stores/hours --query kick.bvh --within --index hours.safetensors` says where in "
        "long recordings the movement of a file occurs, and keeps the features for the next query.",
    )
    parser.add_argument("model", type=str, metavar="MODEL", help="run of `marrow pretrain`, encoder or packed folder")
    parser.add_argument("store", type=Path, metavar="STORE", help="what is searched, as made by `marrow import`")
    parser.add_argument(
        "--query", type=str, required=True, help="id of a clip in the store, or a file of any format that import knows"
    )
    parser.add_argument("--begin", type=float | None, default=None, help="second of the query at which it begins")
    parser.add_argument("--end", type=float | None, default=None, help="second of the query at which it ends")
    parser.add_argument("--count", type=int, default=10, help="neighbours at most")
    parser.add_argument(
        "--within",
        action="store_true",
        help="search inside the recordings, in windows; of those that overlap, the best",
    )
    parser.add_argument(
        "--seconds", type=float | None, default=None, help="length of a window (default: as long as the query)"
    )
    parser.add_argument(
        "--stride", type=float | None, default=None, help="seconds between two windows (default: a quarter of one)"
    )
    parser.add_argument(
        "--index", type=Path | None, default=None, help="file that keeps the features; made where there is none"
    )
    parser.add_argument("--page", type=Path | None, default=None, help="HTML page on which they play side by side")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser


def run(arguments: Namespace) -> int:
    """Print the neighbours, and write the page."""
    if arguments.page is not None:
        check_page(arguments.page, "--page")
    if not arguments.within and (arguments.seconds is not None or arguments.stride is not None):
        raise ConfigError("--seconds and --stride are for a search inside recordings: add --within")
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.models.export import load_encoder
    from marrow.store.format import Store
    from marrow.use.neighbours import class_of, find_neighbours

    encoder, store = load_encoder(arguments.model), Store.open(arguments.store)
    answer = find_neighbours(
        encoder,
        store,
        arguments.query,
        count=arguments.count,
        within=arguments.within,
        part=_part(arguments),
        seconds=arguments.seconds,
        stride=arguments.stride,
        index=arguments.index,
        device=arguments.device,
    )
    question = answer.question
    print(f"query: {question.name}, {question.start_seconds:.2f} to {question.end_seconds:.2f} s")
    for note in answer.notes:
        print(f"note: {note}")
    print(f"{'':4}{'distance':>8}  {'seconds':>15}  {'class':<16}  clip")
    for rank, hit in enumerate(answer.hits, start=1):
        when = f"{hit.start_seconds:.2f} to {hit.end_seconds:.2f}"
        name = class_of(store, hit) or "-"
        print(f"{rank:>3} {hit.distance:>8.3f}  {when:>15}  {name:<16}  {store.ids[hit.row]}")
    if not answer.hits:
        print("    nothing is left to compare the query with")
    if arguments.page is not None:
        from marrow.report.neighbours import write_neighbours

        print(f"page {write_neighbours(answer, store, encoder, arguments.page)}")
        say_open(arguments.page)
    else:
        print("next: the same command with --page near.html plays them side by side")
    return 0


def _part(arguments: Namespace) -> tuple[float, float] | None:
    if arguments.begin is None and arguments.end is None:
        return None
    return arguments.begin or 0.0, float("inf") if arguments.end is None else arguments.end
