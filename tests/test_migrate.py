# SPDX-License-Identifier: Apache-2.0
"""Code for transformers rewritten: what changes, what stays, and that the formatting stays in any case."""

from __future__ import annotations

import ast

import pytest

pytest.importorskip("libcst")

import distilbert
from distilbert.errors import InputError
from distilbert.migrate.names import AUTOS, CLASSES, says_distilbert, split
from distilbert.migrate.rewriting import rewrite

NAME = "distilbert-base-uncased"


def rewritten(text: str, all_auto: bool = False) -> str:
    """The text of a module after rewriting: still Python, and of which nothing more is to be rewritten."""
    after = rewrite(text, all_auto).text
    ast.parse(after)
    assert rewrite(after, all_auto).text == after
    return after


def unchanged(text: str, all_auto: bool = False) -> None:
    assert rewritten(text, all_auto) == text


def test_names_are_those_of_the_package():
    assert set(CLASSES) | {"pipeline"} <= set(distilbert.__all__)
    assert len(CLASSES) == 3 + 18
    assert AUTOS["TFAutoModelForQuestionAnswering"].name == "TFDistilBertForQuestionAnswering"
    assert AUTOS["FlaxAutoModel"].name == "FlaxDistilBertModel"
    assert AUTOS["AutoModelWithLMHead"].name == "DistilBertForMaskedLM"
    assert {"AutoTokenizer", "AutoConfig", "AutoModelForMultipleChoice"} <= set(AUTOS)


def test_auto_classes_are_those_of_transformers():
    there = pytest.importorskip("transformers")
    assert [name for name in AUTOS if not hasattr(there, name)] in ([], ["AutoModelWithLMHead"])


@pytest.mark.parametrize(
    ("qualified", "expected"),
    [
        ("transformers.TFDistilBertModel", ("TFDistilBertModel", ())),
        (
            "transformers.models.distilbert.TFDistilBertModel.from_pretrained",
            ("TFDistilBertModel", ("from_pretrained",)),
        ),
        ("transformers.models.distilbert.modeling_tf_distilbert.TFDistilBertModel", ("TFDistilBertModel", ())),
        ("transformers.models.auto.modeling_auto.AutoModel", ("AutoModel", ())),
        ("transformers.pipelines.pipeline", ("pipeline", ())),
        ("transformers.pipeline", ("pipeline", ())),
        ("transformers", None),
        ("transformers_other.TFDistilBertModel", None),
        ("other.transformers.TFDistilBertModel", None),
    ],
)
def test_qualified_names(qualified, expected):
    assert split(qualified) == expected


@pytest.mark.parametrize(
    "name", ["distilbert-base-uncased", "org/my-DistilBERT", "models/distil_bert/1", "distilbert/distilbert-base-cased"]
)
def test_names_of_checkpoints_that_say_it(name):
    assert says_distilbert(name)


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "distilbert/distilroberta-base", "distilbert/distilgpt2", "roberta"]
)
def test_names_of_checkpoints_that_do_not(name):
    assert not says_distilbert(name)


IMPORTS = [
    ("from transformers import TFDistilBertModel\n", "from distilbert import TFDistilBertModel\n"),
    (
        "from transformers import DistilBertModel as Encoder  # why\n",
        "from distilbert import DistilBertModel as Encoder  # why\n",
    ),
    (
        "from transformers.models.distilbert.modeling_flax_distilbert import FlaxDistilBertModel\n",
        "from distilbert import FlaxDistilBertModel\n",
    ),
    (
        "# head\nfrom transformers import BertModel, TFDistilBertModel, set_seed  # tail\n",
        "# head\nfrom distilbert import TFDistilBertModel\nfrom transformers import BertModel, set_seed  # tail\n",
    ),
    (
        "from transformers import (\n    BertModel,  # b\n    DistilBertModel,  # d\n    set_seed,  # s\n)\n",
        "from distilbert import (\n    DistilBertModel,  # d\n)\n"
        "from transformers import (\n    BertModel,  # b\n    set_seed,  # s\n)\n",
    ),
    (
        "from transformers import (\n    BertModel,  # b\n    DistilBertModel,\n)\n",
        "from distilbert import DistilBertModel\nfrom transformers import (\n    BertModel,  # b\n)\n",
    ),
    (
        "from transformers import (\n    BertModel,\n    DistilBertModel\n)\n",
        "from distilbert import DistilBertModel\nfrom transformers import BertModel\n",
    ),
    (
        "from transformers import BertModel, \\\n    DistilBertModel\n",
        "from distilbert import DistilBertModel\nfrom transformers import BertModel\n",
    ),
    (
        "import os; from transformers import BertModel, DistilBertModel; x = 1\n",
        "import os; from distilbert import DistilBertModel; from transformers import BertModel; x = 1\n",
    ),
    (
        "if x: from transformers import BertModel, DistilBertModel\n",
        "if x: from distilbert import DistilBertModel; from transformers import BertModel\n",
    ),
    (
        "def f():\n    from transformers import BertModel, DistilBertModel\n",
        "def f():\n    from distilbert import DistilBertModel\n    from transformers import BertModel\n",
    ),
    (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n\tfrom transformers import DistilBertModel\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n\tfrom distilbert import DistilBertModel\n",
    ),
    (
        "try:\n    from transformers import TFDistilBertModel\nexcept ImportError:\n    TFDistilBertModel = None\n",
        "try:\n    from distilbert import TFDistilBertModel\nexcept ImportError:\n    TFDistilBertModel = None\n",
    ),
    (
        "import transformers\nx = transformers.TFDistilBertModel\n",
        "import distilbert\nx = distilbert.TFDistilBertModel\n",
    ),
    (
        "import os, transformers as tr\nx = tr.DistilBertModel\ntr.set_seed(1)\n",
        "import distilbert\nimport os, transformers as tr\nx = distilbert.DistilBertModel\ntr.set_seed(1)\n",
    ),
    (
        "import transformers\ndistilbert = transformers.DistilBertModel(c)\n",
        "import distilbert as distilbert_package\ndistilbert = distilbert_package.DistilBertModel(c)\n",
    ),
    (
        "import transformers\ndef f(x: transformers.DistilBertModel) -> 'int': ...\n",
        "import distilbert\ndef f(x: distilbert.DistilBertModel) -> 'int': ...\n",
    ),
]


@pytest.mark.parametrize(("before", "after"), IMPORTS)
def test_imports(before, after):
    assert rewritten(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "from transformers import BertModel\n",
        "from transformers import *\n",
        "from other import DistilBertModel\nDistilBertModel.from_pretrained(x, from_tf=True)\n",
        "from .transformers import DistilBertModel\n",
        "from transformers import AutoModel  # re-exported\n",
        "x = 'from transformers import DistilBertModel'\n",
        "import transformers\nclass DistilBertModel: ...\nDistilBertModel.from_pretrained(x, from_tf=True)\n",
    ],
)
def test_what_is_not_ours_stays(text):
    unchanged(text)


def test_a_shadowed_name_is_not_taken_for_the_import():
    text = (
        "from transformers import DistilBertModel\n"
        "def f(DistilBertModel):\n    DistilBertModel.from_pretrained(1, from_tf=2)\n"
    )
    assert "from_pretrained(1, from_tf=2)" in rewritten(text)


AUTO = "from transformers import AutoModel, AutoTokenizer\n"
AUTO_CASES = [
    (f'AutoModel.from_pretrained("{NAME}")\n', f'DistilBertModel.from_pretrained("{NAME}")\n'),
    (f'X = "{NAME}"\nAutoModel.from_pretrained(X)\n', f'X = "{NAME}"\nDistilBertModel.from_pretrained(X)\n'),
    ("AutoModel.from_pretrained(args.distilbert)\n", "DistilBertModel.from_pretrained(args.distilbert)\n"),
    (
        'AutoModel.from_pretrained(os.path.join(root, "distilbert"))\n',
        'DistilBertModel.from_pretrained(os.path.join(root, "distilbert"))\n',
    ),
    (
        'AutoModel.from_pretrained(f"{root}/distilbert-{n}")\n',
        'DistilBertModel.from_pretrained(f"{root}/distilbert-{n}")\n',
    ),
]


@pytest.mark.parametrize(("before", "after"), AUTO_CASES)
def test_auto_classes_whose_checkpoint_says_so(before, after):
    text = rewritten("from transformers import AutoModel\n" + before)
    assert text == "from distilbert import DistilBertModel\n" + after


@pytest.mark.parametrize(
    "text",
    [
        'AutoModel.from_pretrained("bert-base-uncased")\n',
        'AutoModel.from_pretrained("distilbert/distilroberta-base")\n',
        "AutoModel.from_pretrained(name)\n",
        f'name = "{NAME}"\nname = other\nAutoModel.from_pretrained(name)\n',
        f'def f(name="{NAME}"):\n    return AutoModel.from_pretrained(name)\n',
        "kind = AutoModel\n",
    ],
)
def test_auto_classes_whose_checkpoint_does_not(text):
    unchanged("from transformers import AutoModel\n" + text)


def test_all_auto_takes_what_is_loaded_from_anywhere():
    text = rewritten(AUTO + "AutoModel.from_pretrained(a)\nAutoTokenizer.from_pretrained(a)\n", all_auto=True)
    assert text.startswith("from distilbert import DistilBertModel, DistilBertTokenizer\n")
    assert "Auto" not in text


def test_a_checkpoint_that_a_class_of_distilbert_loads_is_one():
    start = "from transformers import AutoTokenizer, TFDistilBertModel\n"
    text = rewritten(start + "AutoTokenizer.from_pretrained(a.path)\nTFDistilBertModel.from_pretrained(a.path)\n")
    assert text.startswith("from distilbert import DistilBertTokenizer, TFDistilBertModel\nDistilBertTokenizer.")


def test_a_folder_that_a_model_of_distilbert_is_saved_in_is_one():
    start = "from transformers import AutoTokenizer, TFAutoModel, TFDistilBertModel\n"
    saved = "m = TFDistilBertModel.from_pretrained(p)\nm.save_pretrained('out', format='tensorflow')\n"
    text = rewritten(start + saved + "TFAutoModel.from_pretrained('out')\nAutoTokenizer.from_pretrained('out')\n")
    assert text.endswith("\nTFDistilBertModel.from_pretrained('out')\nDistilBertTokenizer.from_pretrained('out')\n")
    assert "transformers" not in text
    others = saved.replace("TFDistilBertModel", "TFBertModel")
    assert "TFAutoModel.from_pretrained('out')" in rewritten(start + others + "TFAutoModel.from_pretrained('out')\n")


def test_a_checkpoint_that_the_tokenizer_of_distilbert_loads_need_not_be_one():
    start = "from transformers import AutoModel, DistilBertTokenizer\nDistilBertTokenizer.from_pretrained(p)\n"
    assert rewritten(start + "AutoModel.from_pretrained(p)\n").endswith("\nAutoModel.from_pretrained(p)\n")


def test_a_variable_of_the_same_name_elsewhere_is_another_checkpoint():
    text = (
        "from transformers import AutoModel, DistilBertModel\n"
        "def f(path):\n    return DistilBertModel.from_pretrained(path)\n"
        "def g(path):\n    return AutoModel.from_pretrained(path)\n"
    )
    assert "return AutoModel.from_pretrained(path)" in rewritten(text)


def test_an_auto_class_of_two_kinds_of_checkpoints():
    text = rewritten(
        f'from transformers import AutoModel\nAutoModel.from_pretrained("{NAME}")\nAutoModel.from_pretrained(b)\n'
    )
    assert text == (
        "from distilbert import DistilBertModel\nfrom transformers import AutoModel\n"
        f'DistilBertModel.from_pretrained("{NAME}")\nAutoModel.from_pretrained(b)\n'
    )


def test_an_auto_class_under_another_name_keeps_it():
    text = rewritten(f'from transformers import AutoModel as M\nM.from_pretrained("{NAME}")\n')
    assert text == f'from distilbert import DistilBertModel as M\nM.from_pretrained("{NAME}")\n'


def test_a_name_that_is_taken_already():
    text = rewritten(f'from transformers import AutoModel\nDistilBertModel = AutoModel.from_pretrained("{NAME}")\n')
    assert text == (
        "from distilbert import DistilBertModel as distilbert_DistilBertModel\n"
        f'DistilBertModel = distilbert_DistilBertModel.from_pretrained("{NAME}")\n'
    )


LOAD = "from transformers import {0}\nm = {0}.from_pretrained({1})\n"
ARGUMENTS = [
    ("TFDistilBertModel", "p, from_pt=True", "p"),
    ("FlaxDistilBertModel", "p, from_pt=bool(x), dtype=d", "p, dtype=d"),
    ("DistilBertModel", "\n    p,\n    num_labels=2,\n    from_tf=True,\n", "\n    p,\n    num_labels=2,\n"),
    ("DistilBertModel", "\n    p,  # path\n    from_tf=True,  # flag\n", "\n    p,  # path\n"),
    ("DistilBertModel", "\n    p,\n    low_cpu_mem_usage=True\n", "\n    p\n"),
    ("DistilBertModel", "p, use_auth_token=True", "p, token=True"),
    ("DistilBertModel", "pretrained_model_name_or_path=p", "name_or_path=p"),
    ("DistilBertTokenizer", "pretrained_model_name_or_path=p, use_fast=True", "pretrained_model_name_or_path=p"),
    ("DistilBertTokenizerFast", "p, config=c, do_lower_case=True", "p, do_lower_case=True"),
    ("DistilBertModel", "p, revision='a', output_attentions=True", "p, revision='a', output_attentions=True"),
    ("DistilBertModel", "p, device_map='auto'", "p, device_map='auto'"),
]


@pytest.mark.parametrize(("name", "before", "after"), ARGUMENTS)
def test_arguments_of_from_pretrained(name, before, after):
    assert rewritten(LOAD.format(name, before)) == LOAD.format(name, after).replace("transformers", "distilbert")


CALLS = [
    ("TFDistilBertModel", "m(a, b, None, c)", "m(a, b, None, c)"),
    ("TFDistilBertModel", "m(a, b, None, c, True)", "m(a, b, None, c, output_attentions=True)"),
    (
        "TFDistilBertForMaskedLM",
        "m(a, b, None, None, None, None, None, y, True)",
        "m(a, b, None, None, output_attentions=None, output_hidden_states=None, return_dict=None, "
        "labels=y, training=True)",
    ),
    (
        "TFDistilBertForQuestionAnswering",
        "m(a, b, None, None, None, None, None, s, e)",
        "m(a, b, None, None, output_attentions=None, output_hidden_states=None, return_dict=None, "
        "start_positions=s, end_positions=e)",
    ),
    ("FlaxDistilBertModel", "m(a, b, None, p, k, True)", "m(a, b, None, params=p, dropout_rng=k, train=True)"),
    ("FlaxDistilBertModel", "m(a, b, params=p)", "m(a, b, params=p)"),
    ("DistilBertModel", "m(a, b, None, None, True)", "m(a, b, None, None, True)"),
    ("TFDistilBertModel", "m.compile(o, loss='auto')", "m.compile(o)"),
    ("TFDistilBertModel", "m.compile(loss=m.hf_compute_loss, optimizer=o)", "m.compile(optimizer=o)"),
    ("TFDistilBertModel", "m.compile(o, loss=own)", "m.compile(o, loss=own)"),
    ("TFDistilBertModel", "other(a, b, None, c, True)", "other(a, b, None, c, True)"),
]


@pytest.mark.parametrize(("name", "before", "after"), CALLS)
def test_calls_of_models(name, before, after):
    start = f"from transformers import {name}\nm = {name}.from_pretrained(p)\n"
    assert rewritten(start + before + "\n") == start.replace("transformers", "distilbert") + after + "\n"


def test_modules_that_are_imported_by_name():
    before = (
        "from transformers.models.distilbert import modeling_flax_distilbert as mf\n"
        "from transformers import pipelines, AutoTokenizer, set_seed  # and a seed\n"
        "mf.FlaxDistilBertModel.from_pretrained(p, from_pt=True)\n"
        "pipelines.pipeline('ner', model='distilbert-x', framework='tf')\n"
        "AutoTokenizer.from_pretrained(p)\n"
    )
    assert rewritten(before) == (
        "import distilbert\n"
        "import distilbert\nfrom distilbert import DistilBertTokenizer\n"
        "from transformers import set_seed  # and a seed\n"
        "distilbert.FlaxDistilBertModel.from_pretrained(p)\n"
        "distilbert.pipeline('ner', model='distilbert-x', backend='tf')\n"
        "DistilBertTokenizer.from_pretrained(p)\n"
    )


def test_the_module_of_transformers_that_is_called_as_the_package():
    before = "from transformers.models import distilbert\ndistilbert.DistilBertModel(distilbert.thing)\n"
    assert rewritten(before) == (
        "import distilbert as distilbert_package\nfrom transformers.models import distilbert\n"
        "distilbert_package.DistilBertModel(distilbert.thing)\n"
    )


def test_a_constructor_by_position():
    text = rewritten("from transformers import FlaxDistilBertModel as F\nF(config, (1, 1), 3, jnp.float32, False)\n")
    assert "F(config, input_shape=(1, 1), seed=3, dtype=jnp.float32, _do_init=False)" in text


PIPE = "from transformers import pipeline\n"
SST = 'model="distilbert/distilbert-base-uncased-finetuned-sst-2-english", revision="714eb0f"'
PIPELINES = [
    ('pipeline("question-answering", model="distilbert-x")', 'pipeline("question-answering", model="distilbert-x")'),
    ('pipeline("sentiment-analysis")', f'pipeline("sentiment-analysis", {SST})'),
    ('pipeline("text-classification", None)', f'pipeline("text-classification", {SST.replace("model=", "")})'),
    ('pipeline("ner", "distilbert-x", framework="tf")', 'pipeline("ner", "distilbert-x", backend="tf")'),
    ('pipeline("ner", "distilbert-x", None, "tok")', 'pipeline("ner", "distilbert-x", tokenizer="tok")'),
    ('pipeline(task="fill-mask", model="distilbert-x", device=-1)', 'pipeline(task="fill-mask", model="distilbert-x")'),
    (
        'pipeline("ner", model="distilbert-x", grouped_entities=True)',
        'pipeline("ner", model="distilbert-x", grouped_entities=True)',
    ),
    ('pipeline(model="distilbert-x", use_auth_token=t)', 'pipeline(model="distilbert-x", token=t)'),
]


@pytest.mark.parametrize(("before", "after"), PIPELINES)
def test_pipelines(before, after):
    assert rewritten(f"{PIPE}x = {before}\n") == f"from distilbert import pipeline\nx = {after}\n"


@pytest.mark.parametrize(
    "call",
    [
        'pipeline("ner")',
        'pipeline("fill-mask")',
        'pipeline("translation", model="distilbert-x")',
        'pipeline("ner", model=name)',
        'pipeline("ner", model="distilbert-x", device=0)',
        'pipeline("ner", model="distilbert-x", tokenizer=made_elsewhere)',
        'pipeline("ner", model="distilbert-x", config=c)',
        'pipeline("ner", model="distilbert-x", trust_remote_code=True)',
        'pipeline("ner", model="distilbert-x", **options)',
        'pipeline("ner", model="distilbert-x", torch_dtype=torch.float16)',
        'pipeline("ner", model="distilbert-x", unheard_of=1)',
        "pipeline(task, model=name)",
    ],
)
def test_pipelines_that_stay(call):
    unchanged(f"{PIPE}x = {call}\n")


def test_pipelines_of_two_kinds():
    text = rewritten(f'{PIPE}a = pipeline("translation")\nb = pipeline("ner", "distilbert-x")\n')
    assert text == (
        "from distilbert import pipeline as distilbert_pipeline\nfrom transformers import pipeline\n"
        'a = pipeline("translation")\nb = distilbert_pipeline("ner", "distilbert-x")\n'
    )


def test_a_pipeline_of_loaded_objects():
    start = (
        "from transformers import DistilBertForTokenClassification as M, DistilBertTokenizer as T, pipeline\n"
        "m = M.from_pretrained(p)\nt = T.from_pretrained(p)\n"
    )
    assert "transformers" not in rewritten(start + 'pipeline("ner", model=m, tokenizer=t)\n')
    assert "transformers import pipeline" in rewritten(start + 'pipeline("ner", model=m, tokenizer=other)\n')


def test_a_pipeline_of_objects_made_in_its_call():
    loaded = 'model=TFDistilBertModel.from_pretrained("x"), tokenizer=DistilBertTokenizer.from_pretrained("x")'
    source = "from transformers import DistilBertTokenizer, TFDistilBertModel, pipeline\n"
    assert "transformers" not in rewritten(f'{source}pipeline("feature-extraction", {loaded})\n')


def test_tf_keras_becomes_keras_where_a_tensorflow_model_is():
    start = "import os\nimport tf_keras\nimport tf_keras as k\nfrom tf_keras.layers import Dense\n"
    switch = 'os.environ["TF_USE_LEGACY_KERAS"] = "1"\nos.environ.setdefault("TF_USE_LEGACY_KERAS", "1")\n'
    model = "from transformers import TFDistilBertModel\n"
    expected = (
        "import os\nimport keras as tf_keras\nimport keras as k\nfrom keras.layers import Dense\n"
        "from distilbert import TFDistilBertModel\n"
    )
    assert rewritten(start + switch + model) == expected
    unchanged(start + switch + "from transformers import TFBertModel\n")
    unchanged('import os\nos.environ["TF_USE_LEGACY_KERAS"] = "0"\nfrom distilbert import TFDistilBertModel\n')


def test_trainer_keeps_its_models_and_their_tokenizers():
    text = (
        "from transformers import DistilBertForMaskedLM, DistilBertTokenizer, Trainer\n"
        "Trainer(model=DistilBertForMaskedLM.from_pretrained(p, from_tf=True))\n"
    )
    unchanged(text)
    assert "from distilbert import TFDistilBertModel" in rewritten(
        text + "from transformers import TFDistilBertModel\n"
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_blanks_stay(newline):
    lines = [
        "# c",
        "",
        "from transformers import BertModel, DistilBertModel  ",
        "x = [1,",
        "     2 ]   # odd",
        "\tif_ = 1"[1:],
        "",
    ]
    after = rewrite(newline.join(lines)).text
    assert after == newline.join(
        [*lines[:2], "from distilbert import DistilBertModel", "from transformers import BertModel  ", *lines[3:]]
    )


def test_what_would_not_come_back_the_same_is_refused():
    with pytest.raises(InputError, match="would not come back the same"):
        rewrite("from transformers import DistilBertModel\r")


def test_a_file_without_transformers_is_not_even_parsed():
    assert rewrite("this is not Python (").text == "this is not Python ("


def test_changes_say_where_and_what():
    done = rewrite(f'from transformers import AutoModel\n\nAutoModel.from_pretrained("{NAME}", from_tf=True)\n')
    assert [(one.line, one.what) for one in done.changes] == [
        (1, "DistilBertModel from distilbert"),
        (3, "AutoModel is DistilBertModel"),
        (3, "from_tf left out"),
    ]
