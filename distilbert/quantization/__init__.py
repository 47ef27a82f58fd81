# SPDX-License-Identifier: Apache-2.0
"""Exports in fewer bits, measured on the user's own data: size, speed and quality of each, and the best that passes.

`schemes.py` says which there are, `data.py` what they are measured on; `quantizing.py` writes, measures and chooses.
"""
