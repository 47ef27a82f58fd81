# SPDX-License-Identifier: Apache-2.0
"""`distilbert serve`: pipelines over HTTP. The work is done in `distilbert/serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from distilbert import backend as backends
from distilbert.cli.frameworks import load_quietly, only_python_speaks
from distilbert.errors import BackendError
from distilbert.serve.settings import FIELDS, Settings, variables

_SAGEMAKER = Path("/", "opt", "ml", "model")  # where the platform puts the model's files


def _option(name: str, **others: Any) -> Any:
    """The option of a setting."""
    flag = f"--{name.replace('_', '-')}"
    least = FIELDS[name].metadata["least"]
    return typer.Option(
        flag,
        envvar=variables(name),
        min=least,
        metavar="N" if least is not None else "TEXT",
        help=FIELDS[name].metadata["help"],
        show_envvar=False,
        **others,
    )


def serve(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODEL...",
            envvar="DISTILBERT_SERVE_MODELS",
            help="Folders or hub repositories. Default: the small sentiment model of this package.",
            show_default=False,
            show_envvar=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            envvar="DISTILBERT_SERVE_TASK",
            show_envvar=False,
            help="Of all models. Default: what each is for.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="DISTILBERT_SERVE_BACKEND",
            show_envvar=False,
            help=f"One of {', '.join(backends.BACKENDS)}. Default: {backends.ENVIRONMENT_VARIABLE}, or as installed. "
            "An exported file has its own.",
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            envvar="DISTILBERT_SERVE_DTYPE",
            show_envvar=False,
            help="float32, bfloat16, float16, int8 or auto.",
        ),
    ] = "float32",
    host: Annotated[str, _option("host")] = Settings.host,
    port: Annotated[int, _option("port")] = Settings.port,
    api_key: Annotated[str | None, _option("api_key")] = None,
    max_body_bytes: Annotated[int, _option("max_body_bytes")] = Settings.max_body_bytes,
    max_client_batch_size: Annotated[int, _option("max_client_batch_size")] = Settings.max_client_batch_size,
    max_batch_tokens: Annotated[int, _option("max_batch_tokens")] = Settings.max_batch_tokens,
    max_concurrent_requests: Annotated[int, _option("max_concurrent_requests")] = Settings.max_concurrent_requests,
    max_queue_items: Annotated[int, _option("max_queue_items")] = Settings.max_queue_items,
    max_answer_values: Annotated[int, _option("max_answer_values")] = Settings.max_answer_values,
    request_seconds: Annotated[float, _option("request_seconds")] = Settings.request_seconds,
    batch_wait_seconds: Annotated[float, _option("batch_wait_seconds")] = Settings.batch_wait_seconds,
    drain_seconds: Annotated[float, _option("drain_seconds")] = Settings.drain_seconds,
    tokenizer_threads: Annotated[int, _option("tokenizer_threads")] = Settings.tokenizer_threads,
    log_level: Annotated[str, _option("log_level")] = Settings.log_level,
    predict_route: Annotated[str | None, _option("predict_route")] = None,
    health_route: Annotated[str | None, _option("health_route")] = None,
    ray_serve: Annotated[
        bool,
        typer.Option(
            "--ray-serve",
            envvar="DISTILBERT_SERVE_RAY_SERVE",
            show_envvar=False,
            help="Deploy it on Ray Serve instead.",
        ),
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="DISTILBERT_SERVE_RAY_ADDRESS",
            show_envvar=False,
            help="Of the cluster: HOST:PORT, auto or local. Default: RAY_ADDRESS, or any.",
        ),
    ] = None,
    replicas: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar="DISTILBERT_SERVE_REPLICAS",
            show_envvar=False,
            min=1,
            help="How many times, on Ray Serve.",
        ),
    ] = 1,
) -> None:
    """Answer requests over HTTP: every task, embeddings as OpenAI's, a page to look at.

    Each option is also an environment variable: --max-body-bytes is DISTILBERT_SERVE_MAX_BODY_BYTES.
    SIGTERM ends the server once all accepted requests are answered.
    """
    settings = Settings(**{name: context.params[name] for name in FIELDS})
    try:
        from distilbert.serve import server
        from distilbert.serve.models import load, runners
    except ImportError as error:
        if (error.name or "distilbert").partition(".")[0] == "distilbert":
            raise
        raise BackendError(f'serve needs {error.name}\n  install:  pip install "distilbert[serve]"') from None
    sources = models or ([str(_SAGEMAKER)] if _SAGEMAKER.is_dir() else [])
    names = runners(sources, backend)
    if ray_serve:
        from distilbert.serve.on_ray import Deployment, serve_on_ray

        chosen = names[0] if len(names) == 1 else backend  # so that all nodes take the same
        deployment = Deployment(tuple(sources), task, chosen, dtype, settings, Path.cwd())
        with only_python_speaks():
            serve_on_ray(deployment, replicas, ray_address)
        return
    listening = server.listen(settings)
    load_quietly(names, "serve")
    server.serve(load(sources, task, backend, dtype), settings, listening)
