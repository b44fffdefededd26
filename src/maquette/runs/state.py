"""The state of a training run on disk: whole or absent, and only ever of one configuration."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.io.files import require_writable, write_bytes
from maquette.runs.processes import world_size
from maquette.runs.schedule import Phase

_CHECKPOINT, _LOG = "checkpoint.safetensors", "log.jsonl"


Net = TypeVar("Net", bound=nn.Module)
Built = TypeVar("Built", bound=nn.Module, covariant=True)


@runtime_checkable
class Training(Protocol[Built]):
    """A configuration of a run, of whichever network: a dataclass with these and other fields."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What is done, in order; the ones that lie ahead may change."""
        ...

    @property
    def seed(self) -> int:
        """Of initial weights, batches and noise."""
        ...

    @property
    def weight_decay(self) -> float:
        """AdamW's."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's."""
        ...

    @property
    def clip(self) -> float:
        """The largest norm of a gradient."""
        ...

    @property
    def bf16(self) -> bool:
        """Convolve in bfloat16; weights, losses and the optimiser stay in float32."""
        ...

    @property
    def steps(self) -> int:
        """Of all phases."""
        ...

    def spans(self) -> Iterator[tuple[Phase, int, int]]:
        """Every phase with its first step and the one after its last."""
        ...

    def build(self) -> Built:
        """The network with fresh weights."""
        ...


@dataclass
class State(Generic[Net]):
    """All that changes while training; what a checkpoint holds."""

    model: Net
    average: Net
    optimiser: torch.optim.AdamW
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def save(state: State[Any], config: Training[nn.Module], run: Path) -> None:
    """Write the log, then the checkpoint, each beside its name and then renamed.

    A kill between the two leaves a log that knows more than the checkpoint, which `start` cuts; never a hole in it.
    """
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    for parameter, moments in state.optimiser.state.items():
        tensors |= {f"adam.{key}.{names[id(parameter)]}": torch.as_tensor(value) for key, value in moments.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    metadata = {"step": str(state.step), "config": _describe(config)}
    write_bytes(run / _LOG, "".join(json.dumps(line) + "\n" for line in state.log).encode())
    write_bytes(run / _CHECKPOINT, save_tensors(tensors, metadata))


def require_ready(config: Training[nn.Module], run: Path, init: dict[str, Tensor] | None = None) -> None:
    """See that a run can start, or go on, before hours go into its data.

    Raises:
        InputError: a batch that doesn't spread over the processes, a run folder that can't be written, or one
            that holds a damaged checkpoint or another configuration's; weights of another network.
    """
    world = world_size()
    for phase in config.phases:
        if phase.batch % world:
            raise InputError(f"a batch of {phase.batch} photos doesn't spread over {world} processes; use a divisor")
    require_writable(run, "--run")
    if (run / _CHECKPOINT).exists():
        _step_of(run, config)
    if init is not None:
        _fill(config.build(), init)


def start(
    config: Training[Net],
    run: Path,
    device: torch.device,
    init: dict[str, Tensor] | None = None,
    groups: Callable[[Net], list[dict[str, Any]]] | None = None,
) -> State[Net]:
    """The run's checkpoint, or a fresh state: random weights, or those of `init`.

    `groups` splits the parameters for the optimiser; `lr_scale` of a group multiplies its learning rate.

    Raises:
        InputError: a checkpoint of another configuration or a damaged one; weights of another network.
    """
    torch.manual_seed(config.seed)
    model = config.build()
    if init is not None:
        _fill(model, init)
    model.to(device)
    average = config.build().to(device)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        groups(model) if groups else model.parameters(), betas=config.betas, weight_decay=config.weight_decay
    )
    state = State(model, average, optimiser)
    if (run / _CHECKPOINT).exists():
        _restore(state, config, run, device)
    return state


def read_log(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log; none if it has none yet."""
    path = run / _LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _fill(model: nn.Module, init: dict[str, Tensor]) -> None:
    try:
        model.load_state_dict(init)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the initial weights don't fit the network ({reason})") from None


def _restore(state: State[Any], config: Training[nn.Module], run: Path, device: torch.device) -> None:
    """Bring a fresh state to where the run's checkpoint left off."""
    state.step = _step_of(run, config)
    try:
        tensors = load_file(run / _CHECKPOINT, device=str(device))
    except (SafetensorError, OSError) as error:
        raise _damaged(run / _CHECKPOINT, error) from None
    for prefix, module in (("model.", state.model), ("average.", state.average)):
        try:
            module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        except RuntimeError as error:
            raise _damaged(run / _CHECKPOINT, error) from None
    for name, parameter in state.model.named_parameters():
        moments = {
            key: tensors[f"adam.{key}.{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"adam.{key}.{name}" in tensors
        }
        if moments:
            state.optimiser.state[parameter] = moments | {"step": moments["step"].cpu()}
    try:
        state.log = [line for line in read_log(run) if line["step"] <= state.step]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _damaged(run / _LOG, error) from None


def _step_of(run: Path, config: Training[nn.Module]) -> int:
    """The step that the run's checkpoint was made at, if it is one of this configuration's."""
    path = run / _CHECKPOINT
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        step = int(metadata["step"])
        fits = _compatible(json.loads(metadata["config"]), config, step)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None
    if not fits:
        raise InputError(f"{path}: was trained with another configuration; give another --run folder")
    return step


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{path}: damaged ({reason}); delete it to start anew, or give another --run folder")


def _describe(config: Training[nn.Module]) -> str:
    return json.dumps(asdict(config))  # pyright: ignore[reportArgumentType]


def _compatible(old: dict[str, Any], config: Training[nn.Module], step: int) -> bool:
    """Whether a checkpoint at `step` is one of this config's: the phases that lie ahead may differ."""
    new = json.loads(_describe(config))
    started = sum(first < step for _, first, _ in config.spans())
    behind = old["phases"][:started], new["phases"][:started]
    same = all(old.get(key) == new[key] for key in new if key != "phases") and len(behind[0]) == started
    return same and all(was.get(key) == now[key] for was, now in zip(*behind, strict=True) for key in now)
