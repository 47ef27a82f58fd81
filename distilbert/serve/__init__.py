# SPDX-License-Identifier: Apache-2.0
"""`distilbert serve`: the pipelines over HTTP, on FastAPI and uvicorn.

`app.create_app(models, settings)` is the application, `server.serve(...)` runs it. What is beneath knows nothing of
HTTP: `batching.py` puts the items of many requests into the model together, on one thread. FastAPI and its company are
imported nowhere else in the package, and not by this file.
"""
