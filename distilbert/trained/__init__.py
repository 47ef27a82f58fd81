# SPDX-License-Identifier: Apache-2.0
"""Models that have learned their task, and labelled data for them: what pruning and quantization measure on.

`recipe.py` has the options that say which data, `data.py` reads it, and `source.py` reads the model. No framework is
imported here.
"""
