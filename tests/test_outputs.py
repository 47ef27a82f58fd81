# SPDX-License-Identifier: Apache-2.0
"""ModelOutput: a dict with attributes and positions, without absent fields."""

from __future__ import annotations

import copy
import pickle

import pytest

from distilbert.outputs import OUTPUT_CLASSES, MaskedLMOutput


def test_absent_fields_are_left_out():
    output = MaskedLMOutput(logits=1, loss=None, attentions=(2,))
    assert list(output) == ["logits", "attentions"]
    assert output.loss is None
    assert output.to_tuple() == (1, (2,))
    with pytest.raises(KeyError):
        output["loss"]


def test_access_by_name_position_and_slice():
    output = MaskedLMOutput(loss=0.5, logits=1)
    assert output["logits"] == output.logits == output[1] == output[-1] == 1
    assert output[:2] == (0.5, 1)
    assert dict(**output) == {"loss": 0.5, "logits": 1}


def test_unknown_fields_are_refused():
    with pytest.raises(TypeError, match="MaskedLMOutput has no field pooler; it has loss, logits"):
        MaskedLMOutput(pooler=1)
    with pytest.raises(AttributeError, match="has no field 'pooler'"):
        _ = MaskedLMOutput().pooler


@pytest.mark.parametrize("cls", OUTPUT_CLASSES)
def test_copies_and_pickles(cls):
    output = cls(**{name: index for index, name in enumerate(cls.FIELDS)})
    assert pickle.loads(pickle.dumps(output)) == copy.deepcopy(output) == output
    assert type(copy.copy(output)) is cls
