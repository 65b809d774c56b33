"""`marrow pack`: a model as a folder of three files that can be passed on."""

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow pack",
        "Pack a model into a folder that can be passed on: model.safetensors (the weights), config.json (all that "
        "using them takes: size, input, layout, classes, a hash), README.md (a card: what it reads, where it came "
        "from, terms of the data, scores). In Python, `marrow.load_encoder('packed')` reads it; every command that "
        "takes an encoder takes the folder, too.",
    )
    parser.add_argument("model", type=Path, help="run of `marrow pretrain` or `marrow finetune`, or an encoder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--terms", type=str, default="", help="terms of the data, as the card is to state them: 'CC BY 4.0.'"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a packed model that is already there")
    return parser


def run(arguments: Namespace) -> int:
    """Pack the model, and say what it can be used for."""
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.models.packed import read_packed
    from marrow.use.pack import pack

    folder = pack(arguments.model, arguments.out, terms=arguments.terms, overwrite=arguments.overwrite)
    packed = read_packed(folder)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder}: {'an encoder' if packed.head is None else 'a recogniser'}, {size:.1f} MB; its card is README.md")
    call = "load_encoder" if packed.head is None else "Recogniser.load"
    print(f'in Python: marrow.{call}("{folder}")')
    place = shlex.quote(str(folder))
    if packed.head is None:
        print(f"next: marrow embed {place} FILE_OR_FOLDER --out features.parquet")
    else:
        print(f"next: marrow predict {place} FILE_OR_FOLDER")
    return 0
