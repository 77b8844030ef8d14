"""How much of a stage's time its matrix products take alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class StageProducts:
    """The products (convolutions, linear layers, attention) of one stage.

    gflop: 10^9 additions and multiplications; alone_ms: milliseconds of the same products on the
    same tensors with nothing in between, median; percent: what that is of the stage's median,
    which goes above 100 where other work came in between.
    """

    stage: str
    gflop: float
    alone_ms: float
    percent: float

    @property
    def gflop_per_s(self) -> float:
        """The rate that the products alone reach."""
        return self.gflop / self.alone_ms * 1e3


@dataclass(frozen=True)
class _Product:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    flop: int


class _Recorder(TorchDispatchMode):
    """Keeps the products that are computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[_Product] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        result = func(*args, **options)
        if flop := _flop(func.overloadpacket.__name__, args, result):
            self.products.append(_Product(func, args, options, flop))
        return result


def _flop(name: str, args: tuple[Any, ...], result: Any) -> int:
    """Additions and multiplications of one of torch's functions, 0 of any other than a product."""
    if name in ("convolution", "conv2d"):
        return 2 * int(result.numel()) * int(args[1][0].numel())
    if name in ("mm", "bmm", "matmul", "linear"):
        return 2 * int(result.numel()) * int(args[0].shape[-1])
    if name in ("addmm", "baddbmm"):
        return 2 * int(result.numel()) * int(args[1].shape[-1])
    if name.lstrip("_").startswith("scaled_dot_product"):
        query, key, value = args[:3]
        rows = query[..., 0].numel() * key.shape[-2]
        return 2 * int(rows) * int(query.shape[-1] + value.shape[-1])
    return 0


@torch.inference_mode()
def measure_products(
    stages: Mapping[str, Callable[[], Any]], medians_ms: Mapping[str, float], runs: int
) -> tuple[StageProducts, ...]:
    """Time the products of stages so many times; stages without any are left out.

    stages: functions that compute each, in turn; medians_ms: what each takes as it is.
    """
    found = []
    for stage, function in stages.items():
        with _Recorder() as recorder:
            function()
        if not recorder.products:
            continue
        times = []
        for _ in range(runs + 1):
            started = time.perf_counter()
            for product in recorder.products:
                product.function(*product.args, **product.options)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        alone_ms = float(np.median(times[1:])) * 1e3
        gflop = sum(product.flop for product in recorder.products) / 1e9
        found.append(StageProducts(stage, gflop, alone_ms, 100 * alone_ms / medians_ms[stage]))
    return tuple(found)
