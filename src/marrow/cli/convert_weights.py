"""`marrow convert-weights`: turn released checkpoints into encoders."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.next_step import say_next
from marrow.errors import ConfigError

_METHODS = ("mamp",)


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow convert-weights",
        "Turn a checkpoint that the authors of a method have released into an encoder that every command takes. "
        "`marrow convert-weights mamp FILE.pth --out FOLDER`: MAMP's, of pre-training, fine-tuning or a linear probe; "
        "the encoder is kept, decoder and head are left out. Nothing in the file is executed.",
    )
    parser.add_argument("method", type=str, metavar="mamp", help="whose checkpoint it is")
    parser.add_argument("file", type=Path, metavar="FILE.pth", help="the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the encoder; made if missing")
    parser.add_argument("--heads", type=int, default=8, help="attention heads, which leave no trace in the file")
    return parser


def run(arguments: Namespace) -> int:
    """Convert, and print what the encoder is."""
    if arguments.method not in _METHODS:
        raise ConfigError(f"can convert the released weights of {' or '.join(_METHODS)}, got {arguments.method!r}")
    from marrow.models.export import DESCRIPTION, save_encoder
    from marrow.parity.mamp import read_released

    strangers = [path.name for path in arguments.out.glob("*")] if arguments.out.is_dir() else []
    if strangers and DESCRIPTION not in strangers:
        raise ConfigError(
            f"{arguments.out} holds files ({sorted(strangers)[0]}, ...) but no encoder; choose an empty folder"
        )
    released = read_released(arguments.file, heads=arguments.heads)
    encoder = released.encoder
    save_encoder(encoder, arguments.out, released.provenance)
    config, count = encoder.config, sum(parameter.numel() for parameter in encoder.parameters())
    print(f"encoder   {arguments.out}")
    print(
        f"size      width {config.width}, {config.depth} blocks, {config.heads} heads (not in the file: --heads), "
        f"{count:,} parameters"
    )
    print(f"input     {encoder.input.window_frames} frames of {encoder.skeleton.name}, joint positions as stored")
    print(f"left out  {', '.join(released.provenance['left_out']) or 'nothing'}")
    say_next("evaluate", arguments.out, "--store", "STORE", "--protocol", "SPLIT")
    return 0
