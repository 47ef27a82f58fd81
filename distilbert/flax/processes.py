# SPDX-License-Identifier: Apache-2.0
"""Training in JAX on many devices, of one process or of many: how processes meet, and how arrays lie on devices.

All devices form a mesh with two axes: `data`, along which the rows of a batch are spread, and `tensor`, along which the
large weights are. XLA adds what has to be sent between devices.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from distilbert.convert.tensor import Array
from distilbert.errors import BackendError, TrainingError
from distilbert.spec import TensorSpec
from distilbert.training.batch import Batch
from distilbert.training.engine import World, lost_message

TENSOR_PARALLEL = "DISTILBERT_TENSOR_PARALLEL"
HEARTBEAT = 20  # seconds without a sign of life after which a process counts as gone
PATIENCE = 600  # seconds that processes wait for each other at the start and at the end
LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED")  # in what JAX says when another process is gone

# The axis of a tensor, in PyTorch's orientation, that is spread over the `tensor` axis of the mesh: outputs of layers,
# inputs of those that follow them, words.
SPREAD = {
    **dict.fromkeys(("q_lin.weight", "k_lin.weight", "v_lin.weight", "lin1.weight"), 0),
    **dict.fromkeys(("q_lin.bias", "k_lin.bias", "v_lin.bias", "lin1.bias"), 0),
    **dict.fromkeys(("out_lin.weight", "lin2.weight"), 1),
    **dict.fromkeys(("word_embeddings.weight", "vocab_projector.weight", "vocab_projector.bias"), 0),
}


def join() -> World:
    """Meet the other processes, where the environment says that there are any.

    It says so by JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID; or by
    what Slurm, Open MPI or Cloud TPU set where they start several. A program that has called
    `jax.distributed.initialize` itself is left as it is. They part when they end: JAX waits for all of them then.

    Raises:
        BackendError: the environment does not fit, or JAX was used before. Where the others do not come, JAX itself
            ends the process after ten minutes.
    """
    if not jax.distributed.is_initialized() and _is_one_of_many():
        try:
            jax.distributed.initialize(
                num_processes=_number("JAX_NUM_PROCESSES"),
                process_id=_number("JAX_PROCESS_ID"),
                initialization_timeout=PATIENCE,
                heartbeat_timeout_seconds=HEARTBEAT,
                shutdown_timeout_seconds=PATIENCE,
            )
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"jax.distributed: the processes cannot meet: {error}") from error
    return World(jax.process_index(), jax.process_count())


def _is_one_of_many() -> bool:
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        return True
    counts = [_number(name) or 1 for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")]
    return max(counts) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def _number(name: str) -> int | None:
    value = os.environ.get(name, "").strip()
    if value and not value.isdecimal():
        raise BackendError(f"{name}: expected a whole number, found {value!r}")
    return int(value) if value else None


class Devices:
    """A mesh of all devices."""

    def __init__(self, sharded: bool) -> None:
        """Take all devices there are.

        Args:
            sharded: spread large weights over all devices, or over as many as DISTILBERT_TENSOR_PARALLEL says.

        Raises:
            BackendError: that many do not divide the devices.
        """
        count = jax.device_count()
        self.tensor = _number(TENSOR_PARALLEL) or (count if sharded else 1)
        if count % self.tensor:
            raise BackendError(f"{TENSOR_PARALLEL}: expected a divisor of the {count} devices, found {self.tensor}")
        shape = (count // self.tensor, self.tensor)
        self.mesh = jax.make_mesh(shape, ("data", "tensor"), axis_types=(AxisType.Auto, AxisType.Auto))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self.rows = NamedSharding(self.mesh, PartitionSpec("data"))
        # Each device brings rows of its own; those of one place on the `data` axis exchange theirs in the program.
        self.own_rows = NamedSharding(self.mesh, PartitionSpec(("data", "tensor")))

    def sharding(self, tensor: TensorSpec) -> NamedSharding:
        """Where a weight lies, in Flax's orientation; one that cannot be cut evenly is everywhere."""
        axis = SPREAD.get(".".join(tensor.name.split(".")[-2:]))
        if axis is None or tensor.shape[axis] % self.tensor:
            return self.replicated
        axis = 1 - axis if tensor.transposed else axis
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, "tensor"))

    def everywhere(self, tree: Any) -> Any:
        """The arrays of a pytree that all processes have, on each device."""
        return jax.tree.map(lambda values: self.put(np.asarray(values), self.replicated), tree)

    def put(self, values: Array, sharding: NamedSharding) -> jax.Array:
        """Values that all processes have, on the devices."""
        values = np.array(values, order="C")  # a copy: JAX may share memory unasked, and gives it away in a step
        return jax.make_array_from_callback(values.shape, sharding, values.__getitem__)

    def put_rows(self, part: Batch) -> dict[str, jax.Array]:
        """A batch of which each process has other rows."""
        return {name: jax.make_array_from_process_local_data(self.own_rows, values) for name, values in part.items()}

    def whole(self, tensors: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Tensors on the first device of this process; all processes must ask together."""
        spread = {name: values for name, values in tensors.items() if not values.is_fully_replicated}
        # One program for all: on CPUs several are run in any order, and processes would wait for each other forever.
        found = jax.jit(lambda x: x, out_shardings=self.replicated)(spread) if spread else {}
        return {
            name: jax.block_until_ready(found.get(name, values)).addressable_data(0) for name, values in tensors.items()
        }


@contextlib.contextmanager
def together() -> Iterator[None]:
    """While entered, the loss of another process is one clear error."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not any(word in str(error) for word in LOST):
            raise
        raise TrainingError(lost_message(jax.process_index(), jax.process_count(), str(error))) from None


def gathered(values: Array) -> list[Array]:
    """The arrays of all processes, in order of rank."""
    from jax.experimental import multihost_utils

    return list(np.asarray(multihost_utils.process_allgather(values, tiled=False)))  # type: ignore[no-untyped-call]
