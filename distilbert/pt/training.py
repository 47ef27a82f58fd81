# SPDX-License-Identifier: Apache-2.0
"""The engine of training in PyTorch: a step of AdamW, an answer without dropout, and the state in between.

Read beside `tf/training.py` and `flax/training.py`; what they share is said in `distilbert/training/engine.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from distilbert.convert.tensor import Array
from distilbert.outputs import ModelOutput
from distilbert.pt.io import to_numpy, to_torch
from distilbert.pt.objectives import TaskObjective
from distilbert.pt.processes import (
    gathered,
    join,
    leave,
    like,
    own_device,
    shared,
    summed,
    synchronised,
    together,
    whole,
)
from distilbert.training import engine
from distilbert.training.batch import Batch, with_token_places
from distilbert.training.engine import EngineSettings, State, StepResult, World, step_seed

__all__ = ["Engine", "TaskObjective"]


class Engine(engine.Engine):
    """Trains a PyTorch model."""

    backend: ClassVar[str] = "pt"

    @classmethod
    def join(cls) -> World:
        return join()

    def __init__(self, model: Any, objective: Any, settings: EngineSettings) -> None:
        super().__init__(model.to(own_device()), objective, settings)
        for name in model.tensor_specs:
            model.get_parameter(name).requires_grad_(settings.plans[name].trained)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        self.call = shared(model, settings.world, settings.sharded)
        self.parameters = {name: model.get_parameter(name) for name in model.tensor_specs}
        self.trained = [name for name in self.parameters if settings.plans[name].trained]
        self.optimizer = self._make_optimizer()

    @property
    def accelerator(self) -> str:
        device = self.model.device
        return "" if device.type == "cpu" else torch.cuda.get_device_name(device)

    def step(self, parts: Sequence[Batch], rate: float, number: int) -> StepResult:
        self.call.train()
        self.optimizer.zero_grad()
        terms: dict[str, Tensor] = {}
        with together():
            for place, part in enumerate(parts):
                torch.manual_seed(step_seed(self.settings.seed, number, place, self.settings.world.rank))
                found = self._backward(part, last=place == len(parts) - 1)
                terms = {name: terms.get(name, 0) + value.detach() for name, value in found.items()}
            norm = self._clip()
            self._update(rate)
            return StepResult(summed(terms), float(norm))

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], ModelOutput]:
        self.call.eval()
        with torch.no_grad(), self._precision():
            terms, output = self.objective(self.call, self._tensors(batch))
        answers = type(output)(**{name: to_numpy(value.float()) for name, value in output.items()})
        return {name: float(value) for name, value in terms.items()}, answers

    def state(self) -> State:
        moments = {name: self.optimizer.state[self.parameters[name]] for name in self.trained}
        begun = {name: found for name, found in moments.items() if found}
        with together():
            return State(
                max((int(found["step"]) for found in begun.values()), default=0),
                {name: to_numpy(whole(parameter)) for name, parameter in self.parameters.items()},
                {name: to_numpy(whole(found["exp_avg"])) for name, found in begun.items()},
                {name: to_numpy(whole(found["exp_avg_sq"])) for name, found in begun.items()},
            )

    def load_state(self, state: State) -> None:
        for name, parameter in self.parameters.items():
            parameter.data.copy_(like(to_torch(state.weights[name]), parameter))
        self.optimizer.state.clear()
        for name in state.first:
            parameter = self.parameters[name]
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(state.step), device=parameter.device),
                "exp_avg": like(to_torch(state.first[name]), parameter),
                "exp_avg_sq": like(to_torch(state.second[name]), parameter),
            }

    def gathered(self, values: Array) -> list[Array]:
        with together():
            return gathered(values)

    def close(self) -> None:
        self.call = self.model  # PyTorch can hang where a data parallel model outlives the processes' group
        leave()

    def _backward(self, part: Batch, last: bool) -> dict[str, Tensor]:
        """Add the gradients of a part; the terms of its loss."""
        with synchronised(self.call, last) as factor:
            with self._precision():
                terms, _ = self.objective(self.call, self._tensors(part))
            (torch.stack([*terms.values()]).sum() * factor).backward()
        return terms

    def _make_optimizer(self) -> torch.optim.AdamW:
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name in self.trained:
            plan = self.settings.plans[name]
            groups.setdefault((plan.rate_factor, plan.decay), []).append(self.parameters[name])
        return torch.optim.AdamW(
            [{"params": group, "factor": factor, "weight_decay": decay} for (factor, decay), group in groups.items()],
            betas=(self.settings.beta1, self.settings.beta2),
            eps=self.settings.epsilon,
            fused=True,
        )

    def _clip(self) -> Tensor:
        """The norm of all gradients together, which are then scaled down to the longest that is allowed."""
        trained = [self.parameters[name] for name in self.trained]
        norm = whole(nn.utils.get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None]))
        if self.settings.max_grad_norm:
            nn.utils.clip_grads_with_norm_(trained, self.settings.max_grad_norm, norm)
        return norm

    def _update(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def _tensors(self, batch: Batch) -> dict[str, Tensor]:
        arrays = with_token_places(batch)
        return {name: torch.from_numpy(values).to(self.model.device) for name, values in arrays.items()}
