# SPDX-License-Identifier: Apache-2.0
"""`distilbert migrate` on files: what is looked at, what is written and how, notebooks, exit codes, errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("libcst")

import distilbert.migrate as package
from distilbert.errors import BackendError, FileError
from distilbert.migrate import Kind, files, migrate

from .test_cli import invoke

BEFORE = "from transformers import DistilBertModel\n"
AFTER = "from distilbert import DistilBertModel\n"


def put(path: Path, text: str | bytes = BEFORE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def notebook(path: Path, *cells: str, indent: object = 1, **options: object) -> Path:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell.splitlines(True)} for cell in cells]
    value = {"cells": [{"cell_type": "markdown", "source": ["# transformers – ä\n"]}, *made], "nbformat": 4}
    return put(path, json.dumps(value, indent=indent, ensure_ascii=False, **options) + "\n")


def cells(path: Path) -> list[str]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


# What is looked at.


def test_folders_without_what_is_not_of_the_code_base(tmp_path):
    wanted = [put(tmp_path / name) for name in ("a.py", "b/c.py", "b/d.pyi")]
    for name in (".git/a.py", ".venv/a.py", "v/pyvenv.cfg", "v/a.py", "__pycache__/a.py", "node_modules/a.py", "e.txt"):
        put(tmp_path / name)
    put(tmp_path / "lib" / "site-packages" / "x.py")
    done = migrate([tmp_path])
    assert [file.path for file in done.files] == wanted
    assert done.looked_at == 3
    assert [path.read_text() for path in wanted] == [BEFORE] * 3  # nothing is written unless it is asked for


def test_a_file_that_is_named_is_looked_at_wherever_it_is_and_once(tmp_path):
    path = put(tmp_path / ".hidden" / "a.py")
    assert [file.path for file in migrate([path, path]).files] == [path]


def test_paths_that_are_not_there_are_all_named(tmp_path):
    other = put(tmp_path / "a.txt")
    with pytest.raises(FileError, match="2 problems") as caught:
        migrate([tmp_path / "no.py", other])
    assert "no.py: does not exist" in str(caught.value)
    assert "a.txt: expected a folder or a file that ends in .py" in str(caught.value)


# What is written.


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mode", [0o755, 0o600, 0o644])
def test_line_ends_and_permissions_stay(tmp_path, newline, mode):
    path = put(tmp_path / "a.py", BEFORE.replace("\n", newline))
    path.chmod(mode)
    assert migrate([path], write=True).written
    assert path.read_bytes() == AFTER.replace("\n", newline).encode()
    assert path.stat().st_mode & 0o777 == mode
    assert [one.name for one in tmp_path.iterdir()] == ["a.py"]


@pytest.mark.parametrize(
    "start",
    [
        b"\xef\xbb\xbf# \xc3\xa4\n",
        b"# -*- coding: latin-1 -*-\n# \xe4\n",
        b"# coding: cp1252\nx = '\x80'\n",
        b"\n\x0c\n# \xc3\xa4\n",
    ],
)
def test_the_encoding_stays(tmp_path, start):
    path = put(tmp_path / "a.py", start + BEFORE.encode())
    migrate([path], write=True)
    assert path.read_bytes() == start + AFTER.encode()


def test_a_link_stays_a_link(tmp_path):
    target = put(tmp_path / "real" / "a.py")
    link = tmp_path / "link.py"
    link.symlink_to(target)
    migrate([link], write=True)
    assert link.is_symlink()
    assert target.read_text() == AFTER


def test_a_file_without_changes_is_not_touched(tmp_path):
    path = put(tmp_path / "a.py", "from transformers import BertModel\n")
    os.utime(path, (1, 1))
    assert migrate([path], write=True).files == []
    assert path.stat().st_mtime == 1


def test_a_file_that_changes_in_the_meantime_is_not_written(tmp_path):
    source = files.read(put(tmp_path / "a.py"))
    put(tmp_path / "a.py", "other\n")
    with pytest.raises(FileError, match="changed in the meantime"):
        files.write(source, AFTER)
    assert (tmp_path / "a.py").read_text() == "other\n"
    assert [one.name for one in tmp_path.iterdir()] == ["a.py"]


def test_a_bad_file_does_not_keep_the_others_from_being_done(tmp_path):
    put(tmp_path / "a.py", "from transformers import (\n")
    put(tmp_path / "b.py", b"# coding: utf-8\n# transformers \xff\n")
    put(tmp_path / "c.py", "# coding: nonsense\n# transformers\n")
    put(tmp_path / "d.py", "from transformers import DistilBertModel\r")
    put(tmp_path / "e.py", "import transformers\nx = " + "(" * 3000 + ")" * 3000 + "\n")
    good = put(tmp_path / "f.py")
    done = migrate([tmp_path], write=True)
    assert good.read_text() == AFTER
    problems = done.problems()
    assert len(problems) == 5
    assert [Path(problem.split(":")[0]).name for problem in problems] == ["a.py", "b.py", "c.py", "d.py", "e.py"]
    assert "a.py:2: is not Python" in problems[0] or "a.py:1: is not Python" in problems[0]
    assert "encoding cannot be read" in problems[1]
    assert "would not come back the same" in problems[3]


def test_the_diff_is_one_that_other_programs_read(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    text = "\x0c# page\n" + BEFORE + "x = 1  # no end of line"
    path = put(tmp_path / "p" / "a.py", text)
    diff = migrate([path]).files[0].diff()
    strip = len(path.relative_to("/").parts)
    subprocess.run(["git", "apply", f"-p{strip}", "-"], cwd=path.parent, input=diff, text=True, check=True)
    assert path.read_text() == text.replace(BEFORE, AFTER)


def test_a_module_that_shadows_the_package_is_noted(tmp_path):
    put(tmp_path / "distilbert.py", "x = 1\n")
    path = put(tmp_path / "a.py")
    (note,) = migrate([path]).files[0].notes
    assert note.kind is Kind.CHANGE
    assert "finds this first" in note.instead


# Notebooks.


def test_a_notebook_is_rewritten_cell_by_cell(tmp_path):
    path = notebook(
        tmp_path / "a.ipynb",
        "%matplotlib inline\nfrom transformers import AutoModel, BertModel",
        "%%bash\npip install transformers",
        "files = !ls\nif files:\n    !pip install x\nAutoModel?",
        'model = AutoModel.from_pretrained(\n    "distilbert-x", from_tf=True)\nmodel',
        "model.generate()",
    )
    before = path.read_text(encoding="utf-8")
    done = migrate([path], write=True)
    assert cells(path) == [
        "%matplotlib inline\nfrom distilbert import DistilBertModel\nfrom transformers import BertModel",
        "%%bash\npip install transformers",
        "files = !ls\nif files:\n    !pip install x\nAutoModel?",
        'model = DistilBertModel.from_pretrained(\n    "distilbert-x")\nmodel',
        "model.generate()",
    ]
    (place, note) = next(iter(done.notes()))
    assert (place, note.cell, note.line) == (f"{path}:cell 6:1", 6, 1)
    assert {(one.cell, one.line) for one in done.files[0].changes} == {(2, 2), (5, 1)}
    lines = set(before.splitlines()) ^ set(path.read_text(encoding="utf-8").splitlines())
    assert [line for line in lines if not any(word in line for word in ("transformers", "distilbert", "Model"))] == []


@pytest.mark.parametrize("indent", [1, 2, 4, None])
def test_the_form_of_a_notebook_stays(tmp_path, indent):
    path = notebook(tmp_path / "a.ipynb", BEFORE, indent=indent)
    before = path.read_text(encoding="utf-8")
    migrate([path], write=True)
    assert path.read_text(encoding="utf-8") == before.replace("from transformers", "from distilbert")


def test_a_cell_that_is_not_python_is_named_and_the_others_are_done(tmp_path):
    path = notebook(tmp_path / "a.ipynb", BEFORE, "this is (", "DistilBertModel.from_pretrained(x, from_tf=1)")
    done = migrate([path], write=True)
    assert cells(path) == [AFTER, "this is (", "DistilBertModel.from_pretrained(x)"]
    (problem,) = done.problems()
    assert "a.ipynb:cell 3:1: is not Python" in problem


def test_notebooks_that_cannot_be_written_back(tmp_path):
    put(tmp_path / "a.ipynb", '{"transformers": 1}')
    put(tmp_path / "b.ipynb", '{ "cells"  : [{"cell_type": "code", "source": "import transformers"}]}')
    put(tmp_path / "c.ipynb", "transformers")
    problems = migrate([tmp_path]).problems()
    assert [
        next(word for word in ("no cells", "unusual form", "not valid JSON") if word in one) for one in problems
    ] == [
        "no cells",
        "unusual form",
        "not valid JSON",
    ]


# The command.


def test_the_command_prints_a_diff_and_notes_and_changes_nothing(tmp_path):
    path = put(
        tmp_path / "a.py", BEFORE + "DistilBertModel.from_pretrained(x).push_to_hub\nm = DistilBertModel(c, a=1)\n"
    )
    result = invoke("migrate", tmp_path)
    assert "-" + BEFORE in result.stdout
    assert "+" + AFTER in result.stdout
    assert f"note: {path}:3: DistilBertModel(a=...): " in result.stderr
    assert "1 file to change of 1, 1 note" in result.stderr
    assert path.read_text().startswith(BEFORE)


def test_the_command_writes(tmp_path):
    path = put(tmp_path / "a.py")
    result = invoke("migrate", tmp_path, "--write")
    assert result.stdout == ""
    assert "1 file changed of 1, 0 notes" in result.stderr
    assert path.read_text() == AFTER
    assert "0 files changed of 1" in invoke("migrate", tmp_path, "--write").stderr


def test_check_says_whether_there_is_something_to_do(tmp_path):
    path = put(tmp_path / "a.py")
    invoke("migrate", path, "--check", code=1)
    invoke("migrate", path, "--check", "--write", code=1)
    invoke("migrate", path, "--check")
    put(path, "from transformers import TFDistilBertMainLayer\n")
    invoke("migrate", path, "--check", code=1)
    put(path, "from transformers import AutoModel\nAutoModel.from_pretrained(x)\n")
    invoke("migrate", path, "--check")
    invoke("migrate", path, "--check", "--all-auto", code=1)


def test_json(tmp_path):
    path = put(tmp_path / "a.py", BEFORE + "m = DistilBertModel.from_pretrained(x, device_map=1)\n")
    put(tmp_path / "b.py", "import transformers (\n")
    result = invoke("migrate", tmp_path, "--json", code=1)
    found = json.loads(result.stdout)
    assert (found["looked_at"], found["changed"], found["notes"], found["problems"], found["written"]) == (
        2,
        1,
        1,
        1,
        False,
    )
    file = found["files"][0]
    assert file["path"] == str(path)
    assert file["changes"] == [{"line": 1, "cell": None, "what": "DistilBertModel from distilbert"}]
    assert file["notes"][0] | {"instead": ""} == {
        "kind": "change",
        "line": 2,
        "cell": None,
        "what": "DistilBertModel.from_pretrained(device_map=...)",
        "instead": "",
    }
    assert file["diff"].startswith("--- a/")
    assert "problem: " in result.stderr


def test_errors_are_one_message(tmp_path):
    assert "no.py: does not exist" in invoke("migrate", tmp_path / "no.py", code=1).stderr
    assert "Usage" in invoke("migrate", code=2).stderr


def test_a_missing_libcst_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[migrate\]"'):
        migrate([tmp_path])


def test_no_framework_is_imported(tmp_path):
    path = put(
        tmp_path / "a.py",
        BEFORE
        + "from transformers import TFDistilBertModel, DistilBertTokenizer as T\nt = T.from_pretrained(p)\nt.x\n",
    )
    program = f"import sys\nfrom distilbert.migrate import migrate\nmigrate([{str(path)!r}])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "tensorflow", "keras", "jax", "flax", "transformers"}
