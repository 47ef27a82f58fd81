# SPDX-License-Identifier: Apache-2.0
"""What all model cards say in the same words, whoever made the model: how to use it, and whether frameworks agree."""
