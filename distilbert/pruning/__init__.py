# SPDX-License-Identifier: Apache-2.0
"""Which attention heads a model can do without, and the model without them. Nothing here imports a framework."""

from __future__ import annotations
