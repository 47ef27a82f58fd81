# SPDX-License-Identifier: Apache-2.0
"""The main job, shown on a small trained checkpoint: read in any format, run in any framework, the same numbers.

`model/` holds the checkpoint, a sentiment classifier made by `scripts/demo/make.py`; its README.md says from what.
How the demo looks is in `distilbert/cli/demo.py`.
"""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).parent / "model"

SENTENCES = (
    "a warm, funny and beautifully acted film that stays with you.",
    "the plot is a mess and the jokes fall flat.",
    "smart, moving and full of surprises.",
    "two hours of boredom that feel like four.",
    "an honest portrait of a family, told with humor and heart.",
    "it wants to be a thriller but forgets to thrill.",
)
