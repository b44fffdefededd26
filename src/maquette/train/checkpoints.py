"""The state of a training run on disk: whole or absent, and only ever of one configuration."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.errors import InputError
from maquette.nets.nirne import NiRNE
from maquette.train.config import TrainConfig


@dataclass
class State:
    """All that changes while training; what a checkpoint holds."""

    model: NiRNE
    average: NiRNE
    optimiser: torch.optim.AdamW
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def save(state: State, config: TrainConfig, run: Path) -> None:
    """Write the checkpoint whole: tensors first beside their name, then renamed; then the log."""
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    for parameter, moments in state.optimiser.state.items():
        tensors |= {f"adam.{key}.{names[id(parameter)]}": torch.as_tensor(value) for key, value in moments.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    part = run / ".checkpoint.part"
    save_file(tensors, part, metadata={"step": str(state.step), "config": _describe(config)})
    os.replace(part, run / "checkpoint.safetensors")
    part = run / ".log.part"
    part.write_text("".join(json.dumps(line) + "\n" for line in state.log))
    os.replace(part, run / "log.jsonl")


def start(config: TrainConfig, run: Path, device: torch.device, init: dict[str, Tensor] | None = None) -> State:
    """The run's checkpoint, or a fresh state: random weights, or those of `init`.

    Raises:
        InputError: a checkpoint of another configuration or a damaged one; weights of another network.
    """
    torch.manual_seed(config.seed)
    model = NiRNE(config.net)
    if init is not None:
        try:
            model.load_state_dict(init)
        except RuntimeError as error:
            raise InputError(
                f"the initial weights don't fit the network ({' '.join(str(error).split())[:200]})"
            ) from None
    model.to(device)
    average = NiRNE(config.net).to(device)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=config.weight_decay)
    state = State(model, average, optimiser)
    path = run / "checkpoint.safetensors"
    if not path.exists():
        return state
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors = load_file(path, device=str(device))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it to start anew, or give another --run folder") from None
    if not _compatible(metadata["config"], config, int(metadata["step"])):
        raise InputError(f"{path}: was trained with another configuration; give another --run folder")
    for prefix, module in (("model.", model), ("average.", average)):
        module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    for name, parameter in model.named_parameters():
        moments = {
            key: tensors[f"adam.{key}.{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"adam.{key}.{name}" in tensors
        }
        if moments:
            optimiser.state[parameter] = moments | {"step": moments["step"].cpu()}
    state.step = int(metadata["step"])
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").exists() else []
    state.log = [line for line in map(json.loads, lines) if line["step"] <= state.step]
    return state


def _describe(config: TrainConfig) -> str:
    return json.dumps(asdict(config))


def _compatible(there: str, config: TrainConfig, step: int) -> bool:
    """Whether a checkpoint at `step` is one of this config's: the phases that lie ahead may differ."""
    old = json.loads(there)
    new = json.loads(_describe(config))
    begun = 0
    for index, (_, first, _) in enumerate(config.spans()):
        if first < step:
            begun = index + 1
    same = all(old.get(key) == new[key] for key in ("net", "seed", "weight_decay", "clip", "bf16"))
    return same and old["phases"][:begun] == new["phases"][:begun]
