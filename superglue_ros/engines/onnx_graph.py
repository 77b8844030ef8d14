"""Runs a graph of an exported engine in ONNX Runtime, on torch's tensors without a copy."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superglue_ros.errors import DeviceError, EngineError

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # Its default rounds the inputs of float32 products to 10 bits.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}
"""Execution provider of each device, and its options."""


class OnnxGraph:
    """An .onnx file on a device: float32 tensors of that device in and out."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Raises EngineError without ONNX Runtime or for a graph that it does not take, and
        DeviceError where it has no provider for the device."""
        runtime = import_onnxruntime()
        provider = PROVIDERS[device.type]
        if provider[0] not in runtime.get_available_providers():
            raise DeviceError(
                f"this ONNX Runtime has no {provider[0]}: install onnxruntime-gpu in place of "
                "onnxruntime, or choose device cpu"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait busily would take the cores from torch's, which run in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # It would keep a plan for every pair of keypoint counts that ever came.
        options.enable_mem_pattern = False
        try:
            self._session: Any = runtime.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # its own kinds derive from nothing more specific
            raise EngineError(f"ONNX Runtime does not take {path}: {error}") from error
        # It falls back to the CPU where the provider's libraries do not load.
        if provider[0] not in self._session.get_providers():
            raise DeviceError(f"{provider[0]} of ONNX Runtime does not start: see the log above")
        self._device = device
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    def __call__(
        self, inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
    ) -> list[Tensor]:
        """Outputs, of the shapes named, of inputs in the graph's order."""
        kept = [tensor.float().contiguous() for tensor in inputs]
        outputs = [torch.empty(shape, device=self._device) for shape in shapes]
        binding = self._session.io_binding()
        for name, tensor in zip(self._inputs, kept, strict=True):
            binding.bind_input(name, *_place(tensor))
        for name, tensor in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, *_place(tensor))
        if self._device.type == "cuda":
            # It computes on a stream of its own.
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs


def import_onnxruntime() -> Any:
    """The module onnxruntime; EngineError where it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineError(
            "an onnx engine needs ONNX Runtime: pip install onnxruntime, or onnxruntime-gpu"
        ) from error


def _place(tensor: Tensor) -> tuple[str, int, type, list[int], int]:
    """What ONNX Runtime wants to know of a tensor: device, type, shape and address."""
    index = tensor.device.index or 0
    return tensor.device.type, index, np.float32, list(tensor.shape), tensor.data_ptr()
