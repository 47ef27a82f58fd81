# SPDX-License-Identifier: Apache-2.0
"""The command as a process: what it imports, and how it ends on signals, closed pipes and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .test_cli import COMMANDS, write

FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax"}

# Runs the command line after a line that changes something, and lists what is then imported.
PROGRAM = """
import sys
from distilbert.cli import main
{change}
sys.argv[0] = "distilbert"
try:
    main()
finally:
    print("modules:", *sys.modules, file=sys.stderr)
"""
# It may be that these tests run under `nohup` or in the background of a script, where signals are ignored, which
# processes inherit: so they are set back.
HEED_SIGNALS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
# The conversion says when it has written its files, and stays there.
STOP = """
import time, distilbert.convert.conversion as conversion
conversion._verify = lambda *arguments: print("written", flush=True) or time.sleep(60)
"""


def start(*arguments: object, change: str = "", **options) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", PROGRAM.format(change=change), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, **(pipes | options))


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str, set[str]]:
    """Exit code, standard output, standard error, and the modules that were imported."""
    try:
        stdout, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    said, _, modules = stderr.partition("modules:")
    return process.returncode, stdout, said, set(modules.split())


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write(tmp_path / "source")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_no_framework_and_little_else(command):
    code, stdout, stderr, modules = finish(start(command, "--help"))
    assert (code, stderr) == (0, "")
    assert "Usage: distilbert" in stdout
    assert not modules & (FRAMEWORKS | {"numpy", "huggingface_hub", "tokenizers", "h5py", "libcst"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["env"]])
def test_a_quick_answer_imports_no_framework_and_little_else(arguments):
    code, stdout, stderr, modules = finish(start(*arguments))
    assert (code, stderr) == (0, "")
    assert "distilbert" in stdout
    assert not modules & (FRAMEWORKS | {"numpy", "huggingface_hub", "tokenizers", "h5py", "libcst"})


@pytest.mark.parametrize("to", ["safetensors", "pytorch", "tensorflow", "flax"])
def test_convert_and_inspect_import_no_framework(checkpoint, tmp_path, to):
    for arguments in (["convert", checkpoint, tmp_path / "target", "--to", to], ["inspect", tmp_path / "target"]):
        code, _, stderr, modules = finish(start(*arguments))
        assert (code, stderr) == (0, "")
        assert not modules & (FRAMEWORKS | {"huggingface_hub"})


def test_run_as_a_module():
    result = subprocess.run([sys.executable, "-m", "distilbert", "--version"], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("distilbert ")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_nothing_behind(checkpoint, tmp_path, number, expected):
    process = start("convert", checkpoint, tmp_path / "target", change=HEED_SIGNALS + STOP)
    assert process.stdout.readline() == "written\n"
    assert any(path.name.endswith(".partial") for path in tmp_path.iterdir())
    process.send_signal(number)
    code, _, stderr, _ = finish(process)
    assert code == expected
    assert "Traceback" not in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_reader_that_goes_away(checkpoint):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, stderr, _ = finish(start("inspect", checkpoint, "--tensors", stdout=writer))
        assert (code, stderr) == (1, "")
        code, _, stderr, _ = finish(start("inspect", checkpoint, "--json", stdout=writer))
        assert (code, stderr) == (1, "")
    finally:
        os.close(writer)


def test_a_limit_on_file_size_leaves_nothing_behind(checkpoint, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    code, _, stderr, _ = finish(start("convert", checkpoint, tmp_path / "target", change=limit))
    assert code == 1
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert "File too large" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_standard_output(checkpoint):
    with open("/dev/full", "w") as full:
        code, _, stderr, _ = finish(start("inspect", checkpoint, stdout=full))
    assert code == 1
    assert "No space left on device" in stderr
    assert "Traceback" not in stderr


def test_a_path_that_is_not_text(tmp_path):
    checkpoint = write(Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xe9")))
    code, stdout, stderr, _ = finish(start("inspect", checkpoint))
    assert (code, stderr) == (0, "")
    assert "\\udcff\\udce9" in stdout
