# SPDX-License-Identifier: Apache-2.0
"""A loop of one's own in PyTorch with a schedule, which is not a matter of models and stays."""

import sys

import torch
import transformers as tr

model = tr.DistilBertForQuestionAnswering.from_pretrained(sys.argv[1]).to("cpu")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / 10))
generator = torch.Generator().manual_seed(0)
ids = torch.randint(5, 30, (4, 10), generator=generator)
starts, ends = torch.tensor([1, 2, 3, 4]), torch.tensor([2, 4, 6, 8])

model.train()
for _ in range(5):
    loss = model(input_ids=ids, start_positions=starts, end_positions=ends)[0]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    print(loss.item())
