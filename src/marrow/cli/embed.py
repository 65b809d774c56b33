"""`marrow embed`: the features of clips as a Parquet or NumPy file."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.import_recordings import add_reading_options, reading_options, root_of
from marrow.errors import ConfigError
from marrow.importing.importer import Recordings

if TYPE_CHECKING:
    from marrow.store.format import Store


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow embed",
        "Encode clips with a trained encoder and write their features: FILE.parquet holds one row per clip (id, label, "
        "class, splits, attributes, feature), for pandas, Polars or DuckDB; FILE.npy holds the matrix, and FILE.json "
        "beside it which clip each row is.",
    )
    parser.add_argument("run", type=Path, help="run directory of `marrow pretrain`, or an exported encoder")
    parser.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="PATH",
        help="files and folders of any format that `marrow import` knows, or a store",
    )
    parser.add_argument(
        "--store", type=Path | None, default=None, help="instead of PATH: the data, as made by `marrow prepare`"
    )
    parser.add_argument(
        "--reader",
        type=str | None,
        default=None,
        help="instead of PATH: read raw recordings of this data set, with the reader's standard settings",
    )
    parser.add_argument("--root", type=Path | None, default=None, help="folder of the raw recordings, with --reader")
    parser.add_argument("--out", type=Path, required=True, help="file to write; it ends in .parquet or .npy")
    parser.add_argument(
        "--rows",
        type=str | None,
        default=None,
        help="which clips: SPLIT/train, SPLIT/test, or a filter such as 'subject=1,2 & view=0' (default: all)",
    )
    parser.add_argument(
        "--pooling",
        type=Literal["mean", "joints"],
        default="mean",
        help="mean: over bodies, time and joints; joints: over bodies and time, joints side by side",
    )
    parser.add_argument("--batch_clips", type=int, default=64, help="clips per forward pass of the encoder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", type=Literal["auto", "fp32", "bf16"], default="auto", help="number format")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    add_reading_options(parser)
    return parser


def run(arguments: Namespace) -> int:
    """Write the features, and say what was written."""
    if sum([bool(arguments.paths), arguments.store is not None, arguments.reader is not None]) != 1:
        raise ConfigError(
            "give either PATH (files, folders or a store), or --store STORE, or --reader NAME with --root FOLDER for "
            "the raw recordings of a data set"
        )
    if (arguments.root is not None) != (arguments.reader is not None) and arguments.reader != "synthetic":
        raise ConfigError("--reader NAME and --root FOLDER go together")
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.store.convert import convert_recordings, prepare
    from marrow.store.format import Store
    from marrow.tasks.embedding import check_output
    from marrow.use.inputs import is_store

    check_output(arguments.out, overwrite=arguments.overwrite)
    if arguments.store is not None:
        return _write(arguments, Store.open(arguments.store))
    if len(arguments.paths) == 1 and is_store(arguments.paths[0]):
        return _write(arguments, Store.open(arguments.paths[0]))
    with tempfile.TemporaryDirectory(prefix="marrow-embed-") as folder:
        if arguments.paths:
            root, paths = root_of(arguments.paths)
            reader = Recordings(paths=paths, **reading_options(arguments)).for_root(root)
            summary = convert_recordings(reader, root, Path(folder) / "store", on_error="drop")
            for recording in summary.dropped:
                print(f"! {recording.id} is left out: {recording.reason}", file=sys.stderr)
            return _write(arguments, Store.open(Path(folder) / "store"))
        return _write(arguments, prepare(arguments.reader, arguments.root or Path(), Path(folder) / "store"))


def _write(arguments: Namespace, store: "Store") -> int:
    from marrow.data.subsets import chosen_rows
    from marrow.tasks.embedding import write_features

    clips, dim = write_features(
        arguments.run,
        store,
        chosen_rows(store, arguments.rows)[0],
        arguments.out,
        pooling=arguments.pooling,
        batch_clips=arguments.batch_clips,
        device=arguments.device,
        precision=arguments.precision,
        overwrite=arguments.overwrite,
    )
    print(f"{arguments.out}: {clips} clips, {dim} numbers each")
    read = "pandas.read_parquet" if arguments.out.suffix == ".parquet" else "numpy.load"
    print(f"next: in Python, {read}({str(arguments.out)!r})")
    return 0
