"""`marrow parity`: compare with numbers that were recorded from a reference implementation."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.next_step import say_next
from marrow.errors import ConfigError

# What can be compared, and the files that it takes.
_FILES = {"mamp": ("FILE.npz",), "hi_trs": ("FILE.npz",), "ntu": ("FOLDER_OF_SKELETON_FILES", "EXPECTED.npz")}
_NTU_TOLERANCE_METRES = 1e-6
_METHOD_TOLERANCE = 1e-5


def build_parser() -> ArgumentParser:
    """Return the parser of `marrow parity`."""
    parser = make_parser(
        "marrow parity",
        "Compare with recorded numbers; exit with 1 where something differs by more than its tolerance. "
        "`marrow parity mamp FILE.npz`, `marrow parity hi_trs FILE.npz`: weights, input and results of the released "
        "model of a method, of any size. "
        "`marrow parity ntu FOLDER EXPECTED.npz`: raw .skeleton files and what the published cleaning makes of them.",
    )
    parser.add_argument("what", type=str, metavar="mamp|hi_trs|ntu", help="what is compared")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the recorded numbers (see above)")
    parser.add_argument("--tolerance", type=float | None, default=None, help="largest accepted error (default: ours)")
    return parser


def run(arguments: Namespace) -> int:
    """Print one line per quantity; 1 where one is above tolerance."""
    wanted = _FILES.get(arguments.what)
    if wanted is None:
        raise ConfigError(f"can compare {', '.join(_FILES)}; got {arguments.what!r}")
    if len(arguments.files) != len(wanted):
        given = " ".join(map(str, arguments.files))
        raise ConfigError(f"expected: marrow parity {arguments.what} {' '.join(wanted)}; got: {given}")
    if arguments.what == "ntu":
        failures = _compare_ntu(arguments.files, arguments.tolerance)
    else:
        failures = _compare_method(arguments.what, arguments.files[0], arguments.tolerance)
    print(f"{failures} above tolerance" if failures else "all within tolerance")
    if failures:
        print("next: python -m pip show torch numpy, to compare versions with those of constraints.txt")
    elif arguments.what == "ntu":
        say_next("prepare", "ntu", arguments.files[0], "--out", "stores/ntu")
    else:
        say_next("pretrain", "--recipe", f"{arguments.what}_ntu60_xsub", "--store", "stores/ntu", "--out", "runs/first")
    return 1 if failures else 0


def _compare_method(method: str, file: Path, tolerance: float | None) -> int:
    from marrow.parity.hi_trs import compare_hi_trs
    from marrow.parity.mamp import compare_mamp

    compare = {"mamp": compare_mamp, "hi_trs": compare_hi_trs}[method]
    quantities = compare(file, _METHOD_TOLERANCE if tolerance is None else tolerance)
    print(f"{'quantity':<26} {'relative error':>14} {'tolerance':>10}")
    for quantity in quantities:
        verdict = "ok" if quantity.passes else "TOO LARGE"
        print(f"{quantity.name:<26} {quantity.error:>14.2e} {quantity.tolerance:>10.0e}  {verdict}")
    return sum(not quantity.passes for quantity in quantities)


def _compare_ntu(files: list[Path], tolerance: float | None) -> int:
    from marrow.parity.ntu import compare_ntu

    tolerance = _NTU_TOLERANCE_METRES if tolerance is None else tolerance
    failures = 0
    print(f"{'recording':<24} {'largest error (m)':>18} {'tolerance':>10}")
    for recording in compare_ntu(files[0], files[1]):
        passes = recording.error_m <= tolerance
        failures += not passes
        verdict = "ok" if passes else "TOO LARGE"
        print(f"{recording.name:<24} {recording.error_m:>18.2e} {tolerance:>10.0e}  {verdict}  {recording.note}")
    return failures
