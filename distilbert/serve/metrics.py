# SPDX-License-Identifier: Apache-2.0
"""What is measured, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as _as_text

from distilbert.serve.batching import Batcher
from distilbert.serve.work import Observer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = tuple(2**power for power in range(3, 17))
_ITEMS = tuple(2**power for power in range(11))


class Metrics(Observer):
    """The measurements of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

        def histogram(name: str, help: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"distilbert_{name}", help, labels, buckets=buckets, registry=self.registry)

        self._requests = Counter(
            "distilbert_requests", "Requests, by route and code.", ("route", "code"), registry=self.registry
        )
        self._request = histogram("request_seconds", "From a request's first byte to its answer.", _SECONDS, ("route",))
        self._tokenize = histogram("tokenize_seconds", "Of a request, for turning texts into tokens.", _SECONDS)
        self._queue = histogram("queue_seconds", "Of a request, from its tokens to its batch.", _SECONDS)
        self._inference = histogram("inference_seconds", "Of a batch in the model.", _SECONDS)
        self._tokens = histogram("batch_tokens", "Tokens of a batch.", _TOKENS)
        self._items = histogram("batch_items", "Inputs of a batch.", _ITEMS)

    def watch(self, batcher: Batcher) -> None:
        """Let the gauges show a queue."""
        for name, help in (
            ("items", "Inputs that are accepted and not answered."),
            ("requests", "The same: requests."),
        ):
            gauge = Gauge(f"distilbert_queue_{name}", help, registry=self.registry)
            gauge.set_function(lambda name=name: getattr(batcher, name))  # type: ignore[misc]

    def requested(self, route: str, code: int, seconds: float) -> None:
        """A request was answered; code 499 for one whose client went away."""
        self._requests.labels(route, str(code)).inc()
        self._request.labels(route).observe(seconds)

    def tokenized(self, seconds: float) -> None:
        self._tokenize.observe(seconds)

    def queued(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def answered(self, items: int, tokens: int, seconds: float) -> None:
        self._inference.observe(seconds)
        self._tokens.observe(tokens)
        self._items.observe(items)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return _as_text(self.registry)
