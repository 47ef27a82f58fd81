# SPDX-License-Identifier: Apache-2.0
"""files.py: caps, kinds of file, and all-or-nothing writing."""

from __future__ import annotations

import os
import stat

import pytest

from distilbert.errors import FileError
from distilbert.files import atomic_write, read_json, read_text, staged_folder, write_json


def test_reading_refuses_what_is_not_a_plain_text_file(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_text(tmp_path / "absent")
    with pytest.raises(FileError, match="found a folder"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="found a pipe"):
        read_text(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"ab\xff")
    with pytest.raises(FileError, match="expected UTF-8 text, found byte 0xff at 2"):
        read_text(tmp_path / "binary")
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(FileError, match="11 bytes, but at most 10"):
        read_text(tmp_path / "long", limit=10)


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1, "a": 1}', "nul", "", "[" * 100_000])
def test_json_refuses_what_is_not_one_clean_object(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileError, match="x.json: "):
        read_json(tmp_path / "x.json")


def test_write_is_all_or_nothing(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": "é"})
    assert read_json(path) == {"a": "é"}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": "é"}
    assert os.listdir(tmp_path) == ["x.json"]


def test_write_to_a_folder_or_into_nowhere(tmp_path):
    with pytest.raises(FileError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(FileError, match="cannot be written"), atomic_write(tmp_path / "no" / "where"):
        pass


def test_staged_folder(tmp_path):
    target = tmp_path / "deep" / "target"
    with staged_folder(target) as staging:
        (staging / "file").write_text("x")
        assert not target.exists()
    assert os.listdir(target) == ["file"]
    with pytest.raises(FileError, match="is not empty"), staged_folder(target):
        pass
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "other") as staging:
        (staging / "file").write_text("x")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["deep"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="is in the way"), staged_folder(tmp_path / "file"):
        pass
