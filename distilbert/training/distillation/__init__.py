# SPDX-License-Identifier: Apache-2.0
"""Distillation without a framework: the student, its corpus, what it learns from, and the losses as a reference."""
