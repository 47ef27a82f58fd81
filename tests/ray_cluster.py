# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of two nodes on this machine, in a process of its own that ends when the tests do.

Run as a script it is the cluster: says its address, kills the second node when told so, ends with its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Nothing leaves this machine: no statistics, only the loopback address. Nothing is killed for other tests' memory.
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "DISTILBERT_BACKEND": "pt",
    "DISTILBERT_THREADS": "1",
}
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "node_ip_address": "127.0.0.1"}


class Cluster:
    """What the tests see of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._read()

    def kill_node(self) -> None:
        """End the second node's processes, with SIGKILL."""
        print("kill", file=self._process.stdin, flush=True)
        self._read()

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the cluster has ended")
        return line.strip()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start one and end it."""
    command = [sys.executable, __file__]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    with process:
        try:
            yield Cluster(process)
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait(60)


def _main() -> None:
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
    try:
        second = nodes.add_node(**_NODE)
        print(nodes.address, flush=True)
        for _ in sys.stdin:
            nodes.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    _main()
