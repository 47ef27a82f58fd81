# SPDX-License-Identifier: Apache-2.0
"""Models as files that other programs run: ONNX, OpenVINO, LiteRT, SavedModel, StableHLO, torch.export.

`formats.py` lists the formats. Each has a file `<name>_format.py` with the same names: `write(model, path, dtype)`,
which needs the framework that writes it, `annotate(path, record)`, and `Session(path, task)`, which needs only what
runs it. `exporting.py` puts an export together and has it compared with its source; `running.py` makes an exported file
a model that pipelines and the server take.
"""
