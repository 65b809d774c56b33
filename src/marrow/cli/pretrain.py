"""`marrow pretrain`: learn an encoder from a store, without labels."""

from dataclasses import fields

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import add_recipe_option, make_parser
from marrow.cli.main import EXIT_INTERRUPTED
from marrow.pretrain import PretrainConfig, pretrain


def build_parser() -> ArgumentParser:
    """Return the parser of the command: a recipe, and every setting of `PretrainConfig`."""
    parser = make_parser(
        "marrow pretrain",
        "Learn an encoder from the clips of a store, without their labels. The run directory holds everything; the "
        "same command goes on where an interrupted run stopped.",
    )
    add_recipe_option(parser)
    parser.add_class_arguments(PretrainConfig, as_group=False)
    return parser


def run(arguments: Namespace) -> int:
    """Pre-train, and print where the encoder is and its loss beside that of predicting the mean."""
    result = pretrain(config_of(arguments))
    last = result.last
    print(f"encoder  {result.encoder}")
    print(f"steps    {last['step']} in {last['wall_seconds']:.0f} s, {last['cpu_seconds']:.0f} s of the processor")
    beside = f" (predicting the mean: {last['loss_of_mean']:.4f})" if "loss_of_mean" in last else ""
    print(f"loss     {last['loss']:.4f}{beside}")
    if not result.finished:
        print("interrupted: the same command goes on from here")
        return EXIT_INTERRUPTED
    return 0


def config_of(arguments: Namespace) -> PretrainConfig:
    """Return the settings that a command line amounts to."""
    settings = build_parser().instantiate(arguments).as_dict()
    return PretrainConfig(**{field.name: settings[field.name] for field in fields(PretrainConfig)})
