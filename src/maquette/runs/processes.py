"""The processes that train together: one, or as many as `accelerate launch` or `torchrun` started."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from maquette.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank, world: its number, and how many there are.
        device: this one's.
    """

    rank: int
    world: int
    device: torch.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call instead of the model, so that all processes follow the mean of their gradients."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    def any(self, here: bool) -> bool:
        """Whether it is true in any process; all of them must ask."""
        if self.world == 1:
            return here
        flag = torch.tensor(int(here), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def leave(self) -> None:
        """The others are no longer needed."""
        if self.world > 1:
            dist.destroy_process_group()


def join_processes(device: str) -> Processes:
    """This process, by the variables that the launchers set; waits until every one has made its part of the data."""
    world = world_size()
    if world == 1:
        return Processes(0, 1, torch.device(device))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    dist.barrier()
    place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    return Processes(dist.get_rank(), world, torch.device(place))


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def world_size() -> int:
    """How many processes a launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def require_one_process(method: str) -> None:
    """See that a training that can't be spread isn't.

    Raises:
        InputError: a launcher started several processes.
    """
    if world_size() > 1:
        raise InputError(f"{method}'s training runs in one process; start it without torchrun or accelerate")
