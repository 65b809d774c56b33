"""`marrow forecast`: how a recording goes on."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.import_recordings import add_reading_options, reading_options
from marrow.errors import ConfigError, DataError


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow forecast",
        "Continue a recording: the positions of every joint in the next second or so, in the coordinates of the file, "
        "in metres. MODEL is what `marrow evaluate --tasks motion_prediction --keep FOLDER` leaves in "
        "FOLDER/motion_prediction; how far off its forecasts were is printed with them.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a forecaster")
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording of any format that `marrow import` knows")
    parser.add_argument("--out", type=Path, required=True, help="file to write; it ends in .npz or .csv")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add_reading_options(parser, left_out=("labels", "pattern"))
    return parser


def run(arguments: Namespace) -> int:
    """Forecast, write, and say how far off it may be."""
    out: Path = arguments.out
    if out.suffix not in (".npz", ".csv"):
        raise ConfigError(f"--out must end in .npz or .csv, got {out.name!r}")
    if out.exists() and not arguments.overwrite:
        raise ConfigError(f"{out} is already there; give another --out, or --overwrite to replace it")
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.tasks.prediction.kept import load_forecaster
    from marrow.use.forecast import forecast
    from marrow.use.inputs import Unreadable, inputs_of

    forecaster, errors = load_forecaster(arguments.model, arguments.device)
    given = list(inputs_of(arguments.file, reading_options(arguments)))
    if len(given) != 1:
        raise DataError(f"expected one recording to continue, {arguments.file} holds {len(given)}")
    if isinstance(given[0], Unreadable):
        raise DataError(given[0].problem)
    result = forecast(forecaster, given[0], str(arguments.model))
    result.write(out)
    bodies, frames = result.positions.shape[:2]
    print(
        f"{out}: {frames} frames at {result.fps:g} per second of {bodies} {'person' if bodies == 1 else 'people'}, "
        f"from {result.end_seconds:.2f} s on"
    )
    for measure, words in (("global", "in the room"), ("root_centred", "root-centred")):
        measured = ", ".join(f"{error:.0f} mm at {horizon} ms" for horizon, error in errors[measure].items())
        print(f"- measured error of the model on its test half, {words}: {measured or 'none'}")
    read = f"numpy.load({str(out)!r})" if out.suffix == ".npz" else f"pandas.read_csv({str(out)!r})"
    print(f"next: in Python, {read}")
    return 0
