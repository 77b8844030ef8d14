"""Builds and runs the graphs of an exported engine with TensorRT 10 or later.

Written after the documented interface; it has not run on a GPU yet.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superglue_ros.errors import DeviceError, EngineError

OLDEST = 10
"""Major version from which on tensors go by name and shapes are 64 bits wide."""

Shape = tuple[int, ...]


class TensorRtGraph:
    """An .engine file on a GPU: float32 tensors of that device in and out."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Raises EngineError without TensorRT or for a file that it does not take: one built by
        another version, or for another GPU."""
        tensorrt = import_tensorrt()
        self._path, self._device = path, device
        # All three have to outlive the context.
        self._logger: Any = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._runtime: Any = tensorrt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise EngineError(
                f"TensorRT {tensorrt.__version__} does not take {path}: export it again, on this "
                "machine"
            )
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT finds no memory to run {path}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = {
            name: self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            for name in names
        }
        self._inputs = [name for name in names if is_input[name]]
        self._outputs = [name for name in names if not is_input[name]]
        # On torch's default stream TensorRT would wait for the whole GPU.
        self._stream = torch.cuda.Stream(device)

    def __call__(self, inputs: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        """Outputs, of the shapes named, of inputs in the graph's order.

        Raises EngineError for an input larger or smaller than the graph was built for.
        """
        kept = [tensor.float().contiguous() for tensor in inputs]
        outputs = [torch.empty(shape, device=self._device) for shape in shapes]
        for name, tensor in zip(self._inputs, kept, strict=True):
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise EngineError(
                    f"{self._path} was not built for {name} of {tuple(tensor.shape)}: set resize "
                    "or max_keypoints, or export with a larger --max-side or --max-keypoints"
                )
        for name, tensor in zip([*self._inputs, *self._outputs], [*kept, *outputs], strict=True):
            self._context.set_tensor_address(name, tensor.data_ptr())
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise EngineError(f"TensorRT cannot run {self._path}: see the log above")
        # Memory of `kept` goes back to the current stream, which waits for its last use.
        current.wait_stream(self._stream)
        return outputs


def build_engine(source: Path, target: Path, profile: Mapping[str, Sequence[Shape]]) -> None:
    """Build an .engine file from an .onnx one for this machine's GPU; takes minutes.

    profile: smallest, usual and largest shape of each input. Precision is the graph's own.
    Raises EngineError.
    """
    tensorrt = import_tensorrt()
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    # Always so from version 11 on, where the flag says nothing.
    typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(source.read_bytes()):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT does not take {source.name}: {reasons}")
    config = builder.create_builder_config()
    # It rounds float32 layers to 10 bits otherwise.
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in profile.items():
        shapes.set_shape(name, smallest, usual, largest)
    config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT cannot build {target.name}: see the log above")
    target.write_bytes(plan)


def import_tensorrt() -> Any:
    """The module tensorrt; EngineError where it is not installed or too old, DeviceError where
    there is no GPU."""
    try:
        tensorrt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise EngineError(
            f"a tensorrt engine needs TensorRT {OLDEST} or later, which is not installed: pip "
            "install tensorrt, or JetPack's"
        ) from error
    if int(tensorrt.__version__.split(".")[0]) < OLDEST:
        raise EngineError(f"TensorRT {tensorrt.__version__} is older than {OLDEST}")
    if not torch.cuda.is_available():
        raise DeviceError("a tensorrt engine needs a GPU, but torch finds no CUDA device here")
    return tensorrt
