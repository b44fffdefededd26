"""How many images a second GSN takes, one at a time and warm, against a U-Net of Splatter Image's size in the same
run.

    python benchmarks/gsn_throughput.py [--quick] [--json] [--weights NAME|DIR] [--device cpu|cuda] [--threads 1 2]

Each case runs in a process of its own:

    net      a 128 x 128 image that is in memory, to Gaussians
    render   net, and one 128 x 128 view of the splat
    unet     a stand-in for Splatter Image (arXiv 2312.13150, which reports 38 images a second on its GPU): diffusers'
             UNet2DModel of that size (128 channels times 1, 2, 2, 2; four blocks a level; attention at 16 pixels; 128 x
             128 in, 24 numbers a pixel out), weights drawn at random; without camera embedding

in float32 and in bfloat16 (autocast). Time is the median over passes of at least two seconds, and five, after three
that warm up; --cpu-time takes the processor's time instead of the clock's, for one thread on a machine that does
other things as well. Memory is how far the most that the process ever held lies above what it held before the
network was built, weights included (Linux), or the most that was allocated (CUDA). `speedup` is the U-Net's time,
of the same device, threads and type, over the case's. --json prints one flat object of ratios. --quick: one thread,
float32. Weights are drawn at random unless --weights names some, which changes no time.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import harness

SIZE_PX = 128
CASES = ("net", "render", "unet")
TYPES = ("float32", "bfloat16")
WARM_UP, LEAST_PASSES, LEAST_S = 3, 5, 2.0
QUICK_WARM_UP, QUICK_PASSES, QUICK_S = 1, 2, 0.5
PEER = "unet"


@dataclass(frozen=True)
class Setting:
    """Where and how; `threads` is 0 on CUDA."""

    device: str
    threads: int
    type: str

    def __str__(self) -> str:
        return f"{self.device}{self.threads or ''}_{self.type}"


Measured = dict[str, Any]  # seconds, peak_mib (None if it can't be told), parameters, gflop
Found = dict[tuple[Setting, str], Measured | None]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    options = _parse(argv)
    if options.case:
        print(json.dumps(measure(options)))
        return 0
    threads = [0] if options.device == "cuda" else [1] if options.quick else options.threads
    types = TYPES[:1] if options.quick else TYPES
    settings = [Setting(options.device, count, type_) for count in threads for type_ in types]
    found = {(setting, case): _in_process(setting, case, options) for setting in settings for case in CASES}
    harness.show(options, ratios, table, found)
    return 0


def ratios(found: Found) -> dict[str, float | None]:
    """`net_cpu1_float32_speedup`, `..._memory`: each case against its setting's U-Net; None if one is missing."""
    flat: dict[str, float | None] = {}
    for (setting, case), measured in found.items():
        if case == PEER:
            continue
        peer = found[setting, PEER] or dict.fromkeys(("seconds", "peak_mib"))
        measured = measured or dict.fromkeys(("seconds", "peak_mib"))
        flat[f"{case}_{setting}_speedup"] = harness.over(peer["seconds"], measured["seconds"], 3)
        flat[f"{case}_{setting}_memory"] = harness.over(measured["peak_mib"] or None, peer["peak_mib"])
    return flat


def table(found: Found) -> str:
    """Markdown, with the milliseconds and sizes behind the ratios."""
    flat = ratios(found)
    lines = harness.head("setting | case | ms | images / s | speedup | peak MiB | parameters, M | GFLOP", "llr")
    for (setting, case), measured in found.items():
        if measured is None:
            lines.append(f"| {setting} | {case} | not run | | | | | |")
            continue
        speedup = flat.get(f"{case}_{setting}_speedup", 1.0)
        lines.append(
            f"| {setting} | {case} | {1000 * measured['seconds']:.2f} | {1 / measured['seconds']:.1f} |"
            f" {harness.number(speedup, '.1f')} | {harness.number(measured['peak_mib'], '.0f')} |"
            f" {measured['parameters'] / 1e6:.1f} | {measured['gflop']:.1f} |"
        )
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> Measured:
    """One case, in this process: seconds of a pass, memory, and the network's size."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import maquette.render.splat.rasterize  # noqa: F401  - what is imported isn't counted

    if options.threads[0]:
        torch.set_num_threads(options.threads[0])
    torch.manual_seed(0)
    before = _memory_mib(options.device, start=True)
    network, job = _unet() if options.case == PEER else _gsn(options.case, options.weights)
    network.to(options.device).eval()
    image = torch.rand(1, 3, SIZE_PX, SIZE_PX, device=options.device)
    kind = torch.device(options.device).type
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=options.type == "bfloat16"):
        seconds = _seconds(lambda: job(image), options)
        most = _memory_mib(options.device, start=False)
        with FlopCounterMode(display=False) as counter:
            network(image)
    return {
        "seconds": seconds,
        "peak_mib": None if before is None or most is None else most - before,
        "parameters": float(sum(parameter.numel() for parameter in network.parameters())),
        "gflop": counter.get_total_flops() / 1e9,
    }


def _gsn(case: str, weights: str | None) -> tuple[Any, Callable[[Any], Any]]:
    from gsn_bench import load_gsn
    from novel_views import images_of_splat

    from maquette.nets.gsn import PRESETS, GSNNet, camera_of

    net = GSNNet(PRESETS["small"]) if weights is None else load_gsn(weights)
    camera = camera_of(net.config, SIZE_PX)
    if case == "render":
        return net, lambda image: images_of_splat(net(image).gaussians(0), [camera])
    return net, lambda image: net(image).gaussians(0)


def _unet() -> tuple[Any, Callable[[Any], Any]]:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from torch import nn

    class Stand(nn.Module):
        """The U-Net at one time, as a map from images to images."""

        def __init__(self) -> None:
            super().__init__()
            self.net = UNet2DModel(
                sample_size=SIZE_PX,
                in_channels=3,
                out_channels=24,
                block_out_channels=(128, 256, 256, 256),
                layers_per_block=4,
                down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
                up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
            )

        def forward(self, image: Any) -> Any:
            return self.net(image, 0).sample

    stand = Stand()
    return stand, stand


def _seconds(job: Callable[[], Any], options: argparse.Namespace) -> float:
    import torch

    now = time.process_time if options.cpu_time else time.perf_counter
    warm_up, passes, least_s = (
        (QUICK_WARM_UP, QUICK_PASSES, QUICK_S) if options.quick else (WARM_UP, LEAST_PASSES, LEAST_S)
    )

    def once() -> float:
        started = now()
        job()
        if options.device == "cuda":
            torch.cuda.synchronize()
        return now() - started

    for _ in range(warm_up):
        once()
    taken = []
    while len(taken) < passes or sum(taken) < least_s:
        taken.append(once())
    return median(taken)


def _memory_mib(device: str, start: bool) -> float | None:
    """The most that this process held; at the start, what it holds, from which on the most is counted."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    held = harness.resident_mib(from_now=start)
    return None if held is None else held[1]


def _in_process(setting: Setting, case: str, options: argparse.Namespace) -> Measured | None:
    command = ["--case", case, "--type", setting.type, "--device", setting.device]
    command += ["--threads", str(setting.threads)]
    command += [] if options.weights is None else ["--weights", options.weights]
    command += ["--cpu-time"] * options.cpu_time + ["--quick"] * options.quick
    measured = harness.run_case(f"{setting} {case}", __file__, command, setting.threads)
    if measured is not None:
        print(f"{setting} {case}: done", file=sys.stderr)
    return measured


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(__doc__, quick="one thread, float32; under a minute")
    parser.add_argument("--weights", metavar="NAME|DIR", help="default: random ones of the preset small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="on the CPU; default: 1 2")
    parser.add_argument("--cpu-time", action="store_true", help="of the processor; with --threads 1")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--type", choices=TYPES, default=TYPES[0], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.cpu_time and (options.device != "cpu" or (options.threads != [1] and not options.quick)):
        parser.error("--cpu-time adds up what threads take; give --threads 1 and --device cpu")
    return options


if __name__ == "__main__":
    sys.exit(main())
