# SPDX-License-Identifier: Apache-2.0
"""Training in PyTorch on many processes, as `torchrun` starts them: each with a copy of the model, or a share of it.

Gradients are added up, not averaged: the weights of a step's labels add up to 1 over all processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from distilbert.convert.tensor import Array
from distilbert.errors import BackendError, TrainingError
from distilbert.training.engine import World, lost_message

_PATIENCE = timedelta(minutes=10)  # with a process that does not answer; one that has ended is noticed at once


def join() -> World:
    """Meet the processes that torchrun has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(own_device())
        try:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
        except (ValueError, RuntimeError) as error:
            found = str(error).splitlines()[0]
            raise BackendError(f"torchrun: the processes do not meet ({found}); start them all with torchrun") from None
    return World(distributed.get_rank(), distributed.get_world_size())


def own_device() -> torch.device:
    """What this process trains on: a GPU of its own where there are any, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def leave() -> None:
    """Part from the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def shared(model: Any, world: World, sharded: bool) -> Any:
    """The model to be called: itself where it is alone, else one that adds up gradients."""
    if world.size == 1:
        return model
    if not sharded:
        return DistributedDataParallel(model)
    mesh = distributed.device_mesh.init_device_mesh(model.device.type, (world.size,))
    for block in [*model.encoder.transformer.layer, model]:
        fully_shard(block, mesh=mesh)
    return model


@contextlib.contextmanager
def synchronised(call: Any, now: bool) -> Iterator[int]:
    """While entered, a backward pass adds up gradients over the processes, or keeps them for one that does.

    Yields:
        The factor that the loss needs: both of PyTorch's ways average what is to be added up.
    """
    if isinstance(call, FSDPModule):
        call.set_requires_gradient_sync(now)
    waits = isinstance(call, DistributedDataParallel) and not now
    with call.no_sync() if waits else contextlib.nullcontext():
        yield distributed.get_world_size() if distributed.is_initialized() else 1


def summed(terms: dict[str, Tensor]) -> dict[str, float]:
    """Terms over all processes."""
    names = list(terms)
    values = torch.stack([terms[name].double() for name in names])
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return dict(zip(names, values.tolist(), strict=True))


def gathered(values: Array) -> list[Array]:
    """The arrays of all processes, in order of rank."""
    if not distributed.is_initialized():
        return [values]
    own = torch.from_numpy(values).to(own_device())
    found = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, own)
    return [tensor.cpu().numpy() for tensor in found]


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which every process may have a share, as a whole; all processes must ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """A whole tensor spread over the processes as another one is."""
    tensor = tensor.to(model.device, copy=True)
    return distribute_tensor(tensor, model.device_mesh, model.placements) if isinstance(model, DTensor) else tensor


@contextlib.contextmanager
def together() -> Iterator[None]:
    """While entered, the loss of another process is one clear error."""
    try:
        yield
    except RuntimeError as error:
        if not distributed.is_initialized() or not _is_about_others(error):
            raise
        raise TrainingError(lost_message(distributed.get_rank(), distributed.get_world_size(), str(error))) from None


def _is_about_others(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or any(word in str(error) for word in ("gloo", "NCCL"))
