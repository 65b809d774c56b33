"""From a traced model to an ONNX file that onnxruntime computes, and to one with weights of eight bits."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from marrow.errors import ConfigError, setting
from marrow.runtime.description import KEY, Description

# From 23 on attention is an operation of its own, of which onnxruntime takes no mask that queries share.
OPSETS = (18, 22)
USUAL_OPSET = 20


def require_packages() -> None:
    """Raise a ConfigError where the packages that write ONNX files are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f'ONNX files need packages of their own ({error.name} is missing): pip install "marrow[export]"'
        ) from error


def check_opset(opset: int) -> None:
    """Raise a ConfigError for a version of ONNX's operators that torch cannot write."""
    if not OPSETS[0] <= opset <= OPSETS[1]:
        versions = f"a version of ONNX's operators from {OPSETS[0]} to {OPSETS[1]}"
        raise ConfigError(f"{setting('opset')} must be {versions}, got {opset}")


def write_onnx(program: ExportedProgram, description: Description, path: Path, opset: int) -> None:
    """Write a traced model with what it says of itself.

    Raises:
        ConfigError: ONNX lacks an operation of it, or it cannot be written in this opset.
    """
    try:
        with _quiet():
            onnx_program: Any = torch.onnx.export(
                *(program, ()),
                dynamo=True,
                opset_version=opset,
                output_names=[description.output],
                custom_translation_table=_translations(),
                verbose=False,
            )
    except Exception as error:  # whatever torch has against it, the person needs one sentence
        reason = " ".join(str(error).rpartition("## Exception summary")[2].split())[:300]
        raise ConfigError(f"this model cannot be written as ONNX: {reason}; use {setting('to', 'torch')}") from error
    model = onnx_program.model
    if model.opset_imports.get("") != opset:
        raise ConfigError(
            f"this model cannot be written in opset {opset}, only in {model.opset_imports.get('')}: give "
            f"{setting('opset')} that"
        )
    _turn_matrices(model)
    # Torch notes where in which file of this machine each operation was written: nobody else's business.
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    model.metadata_props.clear()
    model.metadata_props[KEY] = description.to_json()
    onnx_program.save(path)


def write_int8(source: Path, path: Path) -> None:
    """Write an ONNX file anew with the matrices of its layers in eight bits; what meets them is rounded in passing."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            *(source, path),
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            extra_options={"MatMulConstBOnly": True},
        )


def _turn_matrices(model: Any) -> None:
    """Transpose the matrices of layers here, not in every run: torch leaves that to it where one is used twice."""
    from onnxscript import ir, optimizer

    passes: Any = ir.passes  # whose parts come with onnxscript
    passes.common.CommonSubexpressionEliminationPass()(model)
    optimizer.fold_constants(
        model, onnx_shape_inference=False, should_fold=lambda node: True if node.op_type == "Transpose" else None
    )
    optimizer.remove_unused_nodes(model)


def _translations() -> dict[Any, Any]:
    """Return how ONNX says what torch's own tables lack."""
    from onnxscript import INT64, ir, opset18

    op: Any = opset18  # its types are for those who write functions of ONNX

    def stable_sort(values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        # TopK of all: of equal values the first comes first, so it is stable. It takes no small integers.
        count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]), axis=0)
        largest = int(descending)
        ordered, place = op.TopK(op.Cast(values, to=INT64.dtype), count, axis=dim, largest=largest, sorted=1)
        return op.CastLike(ordered, values), place

    def searchsorted(
        ends: Any, values: Any, *, out_int32: bool = False, right: bool = False, side: Any = None, sorter: Any = None
    ) -> Any:
        # How many of them are not beyond (right), or below, each value.
        compare = op.GreaterOrEqual if right or side == "right" else op.Greater
        beyond = compare(op.Unsqueeze(values, op.Constant(value_ints=[-1])), ends)
        return op.ReduceSum(op.Cast(beyond, to=INT64.dtype), op.Constant(value_ints=[-1]), keepdims=0)

    def where(condition: Any, chosen: Any, other: Any) -> Any:
        if chosen.dtype != ir.DataType.BOOL:
            return op.Where(condition, chosen, other)
        # onnxruntime chooses among numbers only.
        return op.Or(op.And(condition, chosen), op.And(op.Not(condition), other))

    aten = torch.ops.aten
    return {aten.sort.stable: stable_sort, aten.searchsorted.Tensor: searchsorted, aten.where.self: where}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporters have to say to their own developers."""
    logger = logging.getLogger("torch.onnx")
    level, root, root_level = logger.level, logging.getLogger(), logging.getLogger().level
    logger.setLevel(logging.ERROR)
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        root.setLevel(root_level)
