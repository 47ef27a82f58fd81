# SPDX-License-Identifier: Apache-2.0
"""What variables, attributes and parameters hold is followed: calls of a Flax model show whether it was found out."""

from __future__ import annotations

import pytest

pytest.importorskip("libcst")

from distilbert.migrate.rewriting import rewrite

FLAX = "from transformers import FlaxDistilBertModel as F\n"
CALL = "m(a, b, None, q)"
KNOWN = "m(a, b, None, params=q)"  # the order of arguments is another one here


def rewritten(text: str) -> str:
    after = rewrite(text).text
    assert rewrite(after).text == after
    return after


def test_a_model_in_an_attribute():
    text = rewritten(
        "from transformers import FlaxDistilBertModel\n"
        "class A:\n    def __init__(self):\n        self.m = FlaxDistilBertModel.from_pretrained(p)\n"
        "    def f(self, m):\n        return self.m(a, b, None, q), m(a, b, None, q)\n"
    )
    assert "return self.m(a, b, None, params=q), m(a, b, None, q)" in text


def test_an_attribute_of_the_same_name_in_two_classes_that_is_none_at_first():
    text = rewritten(
        "from transformers import FlaxDistilBertModel, TFDistilBertModel\n"
        "class A:\n    def __init__(self):\n        self.m = None\n"
        "    def load(self):\n        self.m = FlaxDistilBertModel.from_pretrained(p)\n"
        "    def f(self):\n        return self.m(a, b, None, q)\n"
        "class B:\n    def __init__(self):\n        self.m = TFDistilBertModel.from_pretrained(p)\n"
        "    def f(self):\n        return self.m(a, b, None, None, q)\n"
        "m: Any = None\ndef g():\n    global m\n    m = FlaxDistilBertModel.from_pretrained(p)\n    m(a, b, None, q)\n"
    )
    assert "return self.m(a, b, None, params=q)" in text
    assert "return self.m(a, b, None, None, output_attentions=q)" in text
    assert text.endswith("    m(a, b, None, params=q)\n")


@pytest.mark.parametrize(
    "lines",
    [
        "t, m = 1, FlaxDistilBertModel.from_pretrained(p)",
        "def f():\n    return FlaxDistilBertModel.from_pretrained(p)\nm = f()",
        "def f():\n    m = FlaxDistilBertModel.from_pretrained(p)\n    return m\nm = f()",
        "def f():\n    m = FlaxDistilBertModel.from_pretrained(p)\n    return t, m\nt, m = f()",
        "if (m := FlaxDistilBertModel.from_pretrained(p)):\n    pass",
    ],
)
def test_models_that_come_by_other_ways(lines):
    start = "from transformers import FlaxDistilBertModel\n"
    assert rewritten(f"{start}{lines}\nm(a, b, None, q)\n").endswith("\nm(a, b, None, params=q)\n")
    other = lines.replace("def f():", "def f():\n    if x:\n        return other()").replace(
        "t, m = 1, Fl", "m, t = other(), Fl"
    )
    if other != lines:
        assert rewritten(f"{start}{other}\nm(a, b, None, q)\n").endswith("\nm(a, b, None, q)\n")


@pytest.mark.parametrize(
    ("annotation", "is_certain"),
    [
        ("F", True),
        ("'F'", True),
        ("Optional[F]", True),
        ("F | None", True),
        ("'typing.Optional[F]'", True),
        ("Union[F, Other]", False),
        ("'Other'", False),
        ("'no type('", False),
    ],
)
def test_a_parameter_with_an_annotation(annotation, is_certain):
    start = f"from transformers import FlaxDistilBertModel as F\ndef f(m: {annotation} = None):\n    "
    after = "m(a, b, None, params=q)\n" if is_certain else "m(a, b, None, q)\n"
    assert rewritten(start + "m(a, b, None, q)\n").endswith(after)


def test_an_attribute_that_a_base_fills():
    text = rewritten(
        "from transformers import FlaxDistilBertModel\n"
        "class A:\n    def __init__(self):\n        self.m = FlaxDistilBertModel.from_pretrained(p)\n"
        "class B(A):\n    def f(self):\n        return self.m(a, b, None, q)\n"
    )
    assert "return self.m(a, b, None, params=q)" in text


def test_a_variable_that_may_be_something_else_is_left_alone():
    start = "from transformers import FlaxDistilBertModel\nm = FlaxDistilBertModel.from_pretrained(p)\n"
    assert rewritten(start + "if x:\n    m = other()\nm(a, b, None, q)\n").endswith("m(a, b, None, q)\n")


@pytest.mark.parametrize(
    "lines",
    [
        "def f(m, x):\n    CALL\nf(F.from_pretrained(p), 1)",
        "def f(x, m=None):\n    CALL\nf(1)\nf(1, m=F.from_pretrained(p))\nf(m=F(c), x=1)\nf(x, None)",
        "def f(x, *, m):\n    CALL\nf(*y, m=F.from_pretrained(p), **z)",
        "def main():\n    one = F.from_pretrained(p)\n    g(one)\ndef g(two):\n    f(two)\ndef f(m):\n    CALL",
        "@jit\ndef f(m):\n    CALL\ndef load():\n    return F.from_pretrained(p)\nf(load())",
        "class A:\n    def __init__(self, m):\n        self.m = m\n    def f(self):\n        self.CALL\nA(F(c))",
        "class A:\n    def f(self, m):\n        CALL\n    def g(self):\n        self.f(F.from_pretrained(p))",
        "class A:\n    @staticmethod\n    def f(m):\n        CALL\n    def g(self):\n        self.f(F(c))",
    ],
)
def test_a_parameter_that_gets_the_same_at_every_call(lines):
    assert KNOWN in rewritten(FLAX + lines.replace("CALL", CALL))


@pytest.mark.parametrize(
    "lines",
    [
        "def f(m):\n    CALL\nf(F.from_pretrained(p))\nf(other)",
        "def f(m=other):\n    CALL\nf(F.from_pretrained(p))",
        "def f(m):\n    m = other(m)\n    CALL\nf(F.from_pretrained(p))",
        "def f(m):\n    CALL\nf(F.from_pretrained(p))\nf(*y)",
        "def f(m):\n    CALL\nf(F.from_pretrained(p))\nf(**y)",
        "def f(m):\n    f(m)\n    CALL",
        "def f(m):\n    CALL\ndef f(n):\n    pass\nf(F.from_pretrained(p))",
        "def f(*m):\n    CALL\nf(F.from_pretrained(p))",
        "class A:\n    def f(self, m):\n        CALL\n    def g(self):\n        self.f(other, F.from_pretrained(p))",
    ],
)
def test_a_parameter_that_may_get_something_else(lines):
    assert KNOWN not in rewritten(FLAX + lines.replace("CALL", CALL))


@pytest.mark.parametrize(
    ("lines", "is_one"),
    [
        ("def f(name):\n    return C.from_pretrained(name)\nf('distilbert-base-cased')", True),
        (
            "def f(name='distilbert-a'):\n    return C.from_pretrained(name)\ndef g(n):\n    f(n)\ng('distilbert-b')",
            True,
        ),
        ("def f(name='distilbert-a'):\n    return C.from_pretrained(name)", False),
        ("def f(name='distilbert-a'):\n    return C.from_pretrained(name)\nf('roberta-base')", False),
        ("def f(name='roberta-base'):\n    return C.from_pretrained(name)\nf('distilbert-a')", False),
        ("def f(name):\n    f(name)\n    return C.from_pretrained(name)", False),
        ("def f(name):\n    return C.from_pretrained(name)\nf('distilbert-a')\nf(*names)", False),
    ],
)
def test_a_checkpoint_that_every_call_names(lines, is_one):
    after = rewritten(f"from transformers import AutoModel as C\n{lines}\n")
    assert ("import DistilBertModel as C" in after) is is_one
