# SPDX-License-Identifier: Apache-2.0
"""Scripts as people have them print the same numbers under transformers 4.57 and, rewritten, with this package."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from .migration_samples import ALL, SCRIPTS, Script, numbers, write_checkpoint

pytest.importorskip("libcst")

from distilbert.migrate import migrate

NEEDS = {
    "tf": ("tensorflow", "keras", "tf_keras"),
    "flax": ("jax", "flax", "optax"),
    "pt": ("torch",),
}


def needed(script: Script) -> set[str]:
    """The packages that a script, or what it loads, imports."""
    text = (SCRIPTS / script.name).read_text(encoding="utf-8")
    found = {name for name, packages in NEEDS.items() if any(re.search(rf"\b{one}\b", text) for one in packages)}
    found |= {"tf"} if "TFAuto" in text else set()
    found |= {"pt"} if "from_pt" in text or "pipeline" in text else set()
    return {"transformers", *(package for name in found for package in NEEDS[name])}


def test_every_script_is_run():
    assert {path.name for path in SCRIPTS.iterdir() if path.is_file()} == {script.name for script in ALL}


@pytest.mark.parametrize("script", ALL, ids=[script.name for script in ALL])
def test_every_script_is_rewritten_whole(script, tmp_path):
    copy = shutil.copy(SCRIPTS / script.name, tmp_path / script.name)
    done = migrate([copy], all_auto=True, write=True)
    assert done.problems() == []
    text = (tmp_path / script.name).read_text(encoding="utf-8")
    assert not re.search(r"import transformers|from transformers|transformers\.|tf_keras\.\w+ import", text)
    assert migrate([copy], all_auto=True).files == []


@pytest.mark.slow
@pytest.mark.parametrize("script", ALL, ids=[script.name for script in ALL])
def test_the_same_numbers(script, tmp_path):
    for package in sorted(needed(script)):
        pytest.importorskip(package)
    checkpoint = tmp_path / "checkpoint"
    write_checkpoint(checkpoint, script)
    rewritten = tmp_path / "rewritten" / script.name
    rewritten.parent.mkdir()
    shutil.copy(SCRIPTS / script.name, rewritten)
    assert migrate([rewritten], all_auto=True, write=True).problems() == []
    before = numbers(SCRIPTS / script.name, checkpoint, tmp_path)
    after = numbers(rewritten, checkpoint, tmp_path)
    print(f"{script.name}: {len(before)} numbers, largest difference {np.abs(before - after).max():.1e}")
    assert len(before) == len(after) > 2
    assert np.isfinite(before).all()
    assert np.abs(before - after).max() <= script.bound
