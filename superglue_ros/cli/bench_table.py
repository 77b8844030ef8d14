"""What `superglue_ros bench` prints of one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from superglue_ros.benchmarks.speed import WHOLE, SpeedResult


def print_stages(result: SpeedResult) -> None:
    """Print a row a stage, and below what they come to."""
    shrunk = f" shrunk to {result.resize}" if result.resize else ""
    print(
        f"\n{result.width}x{result.height}{shrunk}, {result.keypoints} keypoints, "
        f"{result.layers} layers, {result.iterations} iterations, "
        f"{result.precision} on {result.device}"
    )
    print(
        f"  {'stage':<20}{'median ms':>10}{'min':>9}{'max':>9}"
        f"{'GFLOP':>9}{'alone ms':>10}{'share':>8}"
    )
    products = {p.stage: p for p in result.products}
    for s in result.stages:
        row = f"  {s.stage:<20}{s.median_ms:>10.2f}{s.low_ms:>9.2f}{s.high_ms:>9.2f}"
        if p := products.get(s.stage):
            row += f"{p.gflop:>9.2f}{p.alone_ms:>10.2f}{p.percent:>6.0f} %"
        print(row)
    if products:
        gflop = sum(p.gflop for p in result.products)
        alone_ms = sum(p.alone_ms for p in result.products)
        share = 100 * alone_ms / result.median_ms(WHOLE)
        print(
            f"  matrix products alone: {gflop:.1f} GFLOP in {alone_ms:.1f} ms, "
            f"{gflop / alone_ms * 1e3:.0f} GFLOP/s, {share:.0f} % of a frame"
        )
    print(f"  {result.frames_per_s:.1f} frames/s; memory in MiB: ", end="")
    parts = {
        "a frame": result.frame_memory_mb,
        "of it encoder and self-attention": result.attention_memory_mb,
        "grown over the runs": result.growth_mb,
        "of the GPU in use": result.gpu_memory_mb,
        "of it torch's": result.torch_memory_mb,
    }
    print(", ".join(f"{name} {mb:.1f}" for name, mb in parts.items() if mb is not None))
    if (beside := result.beside) is not None:
        idle, busy = beside.idle_frames_per_s, beside.busy_frames_per_s
        print(
            f"  beside {beside.processes} busy processes {_rates(busy)} frames/s, without them "
            f"{_rates(idle)}: {beside.busy_percent:.0f} %"
        )


def _rates(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
