# SPDX-License-Identifier: Apache-2.0
"""What cannot be rewritten is noted, with its line; and what the notes say of the models here is so."""

from __future__ import annotations

import pytest

pytest.importorskip("libcst")

from distilbert import backend, pretrained
from distilbert.migrate.calls import keywords_of
from distilbert.migrate.names import AUTOS, CLASSES
from distilbert.migrate.notes import ABSENT, DROPPED, PIPELINE_CLASSES, RENAMED, STAYING, Kind
from distilbert.migrate.pipelines import DEFAULTS
from distilbert.migrate.rewriting import rewrite
from distilbert.pipelines import registry

TF = "from transformers import TFDistilBertForSequenceClassification as C\nm = C.from_pretrained(p)\n"
FLAX = "from transformers import FlaxDistilBertModel as C\nm = C.from_pretrained(p)\n"
PT = "from transformers import DistilBertModel as C\nm = C.from_pretrained(p)\n"
CONFIG = "from transformers import DistilBertConfig as C\nm = C.from_pretrained(p)\n"
TOKENIZER = "from transformers import DistilBertTokenizerFast as C\nm = C.from_pretrained(p)\n"

NOTED = [
    (TF, "m.compile(loss=other.hf_compute_loss)", Kind.CHANGE, "hf_compute_loss", "leave loss out"),
    (TF, "d = m.prepare_tf_dataset(x)", Kind.CHANGE, "prepare_tf_dataset", "tf.data"),
    (TF, "other.compile(o, loss='auto')", Kind.CHANGE, "auto", "leave loss out"),
    (TF, "o = m(x, labels=y)\no.loss", Kind.CHECK, "o.loss", "the mean"),
    (TF, "l = m(x, a, None, None, None, None, None, y)[0]", Kind.CHECK, "labels=...)[...]", "the mean"),
    (TF, "l = m(x, labels=y)[0]", Kind.CHECK, "labels=...)[...]", "the mean"),
    (TF, "m.save_pretrained(f)", Kind.CHECK, "save_pretrained", 'format="tensorflow"'),
    (TF, "m.save_pretrained(f, saved_model=True)", Kind.CHANGE, "saved_model", "export"),
    (TF, "o = m(x, labels=y)\nl, z = o[:2]\nz = o[1]", Kind.CHECK, "o[...]", "the mean"),
    (TF, "def f(m: 'C | None'):\n    l, z = m(x, labels=y, return_dict=False)", Kind.CHECK, "labels=...)", "the mean"),
    (TF, "m.save_weights(f)", Kind.CHECK, "save_weights", ".weights.h5"),
    (TF, "other.save_weights(p + '/best.h5')", Kind.CHANGE, "save_weights", ".weights.h5"),
    (TF, "ModelCheckpoint(f'{p}/best.h5', save_weights_only=True)", Kind.CHANGE, "ModelCheckpoint", ".weights.h5"),
    (TF, "keras.callbacks.ModelCheckpoint(filepath='best')", Kind.CHANGE, "ModelCheckpoint", ".keras"),
    (TF, "e = m.get_input_embeddings()\ne.weight", Kind.CHANGE, "e.weight", "get_input_embeddings().embeddings"),
    (TF, "m.distilbert.embeddings.weight", Kind.CHANGE, "m.distilbert.embeddings.weight", "().embeddings"),
    (TF, "k = keras.Model(i, o)\nk.save('best.h5')", Kind.CHECK, "k.save", "ends in .keras"),
    (TF, "keras.callbacks.ModelCheckpoint(p + '/best.h5')", Kind.CHECK, "ModelCheckpoint", "ends in .keras"),
    (TF, "m.load_weights('best.h5')", Kind.CHANGE, "load_weights", "from_pretrained"),
    (TF, "m.save('best')", Kind.CHANGE, "m.save", ".keras"),
    (TF, "from tensorflow.keras.optimizers import Adam\nAdam(lr=1e-3)", Kind.CHANGE, "Adam(lr=...)", "learning_rate"),
    (TF, "tf.keras.optimizers.legacy.Adam()", Kind.CHANGE, "legacy", "Keras 2"),
    (TF, "keras.optimizers.Adam(lr=1e-3)", Kind.CHANGE, "lr=", "learning_rate"),
    (TF, "from transformers import create_optimizer", Kind.CHANGE, "create_optimizer", "keras.optimizers.AdamW"),
    (TF, "import transformers\ntransformers.AdamWeightDecay(1)", Kind.CHANGE, "AdamWeightDecay", "AdamW"),
    (TF, "m.config.id2label = {}", Kind.CHANGE, "m.config.id2label", "from_pretrained(name, id2label=...)"),
    (TF, "class D(C):\n    pass", Kind.CHECK, "class D", "(config, *, seed=None)"),
    (TF, "isinstance(x, C)", Kind.CHECK, "isinstance(x, C)", "of this package only"),
    (TF, "m(*x)", Kind.CHECK, "with *", "up to argument 4"),
    (FLAX, "m.module.apply({})", Kind.CHANGE, "m.module", "params=..."),
    (FLAX, "m.enable_gradient_checkpointing()", Kind.CHANGE, "enable", "gradient_checkpointing_enable"),
    (FLAX, "C.from_pretrained(p, dtype=jnp.bfloat16)", Kind.CHECK, "bfloat16", "parameters"),
    (FLAX, "m(x, head_mask=h)", Kind.CHECK, "head_mask", "ignores"),
    (FLAX, "m(x, return_dict=False)", Kind.CHECK, "return_dict", "hidden_states, attentions"),
    (FLAX, "m.to_bf16(p, mask)", Kind.CHANGE, "to_bf16", "jax.tree.map"),
    (FLAX, "m.save_pretrained(f, params=p)", Kind.CHECK, "save_pretrained", 'format="flax"'),
    (TOKENIZER, "m(x, pad_to_max_length=True)", Kind.CHANGE, "m(...) with pad_to_max_length", 'padding="max_length"'),
    (TOKENIZER, "m.encode_plus(x, add_prefix=True)", Kind.CHANGE, "m.encode_plus(...) with add_prefix", "leave it out"),
    (PT, "m.push_to_hub(n, create_pr=True)", Kind.CHANGE, "m.push_to_hub(...) with create_pr", "leave it out"),
    (PT, "C.from_pretrained(p, device_map='auto')", Kind.CHANGE, "device_map", "model.to(device)"),
    (PT, "C.from_pretrained(p, nonsense=1)", Kind.CHANGE, "nonsense", "leave it out"),
    (PT, "from transformers import BertModel\nBertModel(m)", Kind.CHANGE, "BertModel(m)", "a model of this package"),
    (PT, "patch('transformers.DistilBertModel')", Kind.CHANGE, "transformers.DistilBertModel", "distilbert"),
    (PT, "import transformers as t\ngetattr(t, 'AutoModel')", Kind.CHANGE, "getattr", "getattr(distilbert"),
    (CONFIG, "m.num_labels = 3", Kind.CHANGE, "m.num_labels", "config.replace(num_labels=...)"),
    (CONFIG, "def f(config: C):\n    config.output_attentions = True", Kind.CHANGE, "config.output", "config.replace"),
    (TF, "x.get_layer('tf_distil_bert_model')", Kind.CHANGE, "tf_distil_bert_model", "other names"),
    (TF.replace("ForSequenceClassification", "Model"), "m.distilbert(i)[0]", Kind.CHANGE, "m.distilbert", "itself"),
    (
        "",
        "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('distilbert-x', trust_remote_code=True)",
        Kind.LEFT,
        "AutoTokenizer",
        "code of its own",
    ),
    (TF, "tf.keras.models.load_model(f)", Kind.CHECK, "load_model", "save_pretrained"),
    (CONFIG, "m.update({})", Kind.CHANGE, "m.update", "config.replace"),
    (CONFIG, "from transformers import AutoModel\nAutoModel.from_config(m)", Kind.CHANGE, "from_config(m)", "a config"),
    (TOKENIZER, "m.push_to_hub(n, tags=[])", Kind.CHANGE, "m.push_to_hub(...) with tags", "leave it out"),
    (CONFIG, "m.push_to_hub(n)", Kind.CHANGE, "m.push_to_hub", "model.push_to_hub(name)"),
    (TOKENIZER, "m.apply_chat_template(x)", Kind.CHANGE, "apply_chat_template", "has no"),
    ("", "from transformers import *\nDistilBertModel", Kind.CHANGE, "import *", "from distilbert"),
    ("", "from transformers import TFDistilBertMainLayer", Kind.CHANGE, "TFDistilBertMainLayer", "a layer too"),
    ("", "from transformers import DistilBertPreTrainedModel", Kind.CHANGE, "PreTrainedModel", "distilbert.pt"),
    (
        "",
        "from transformers.models.distilbert.modeling_distilbert import DistilBertSdpaAttention",
        Kind.CHANGE,
        "DistilBertSdpaAttention",
        "have their own",
    ),
    (
        "",
        "from transformers import AutoModel\nAutoModel.from_pretrained(x)",
        Kind.LEFT,
        "AutoModel stays",
        "--all-auto",
    ),
    ("", "from transformers import pipeline\npipeline('ner', model=x)", Kind.LEFT, "pipeline stays", "--all-auto"),
    (
        "",
        "import importlib\nt = importlib.import_module('transformers')\nt.DistilBertModel",
        Kind.CHANGE,
        "import_module('transformers')",
        "in distilbert",
    ),
    (
        "",
        "from transformers import pipeline as f\np = partial(f, 'ner', model='distilbert-x')\nq = partial(f, 'ner')",
        Kind.CHANGE,
        "f stays",
        "not called here",
    ),
    (
        PT,
        "import transformers\nisinstance(m, transformers.PreTrainedModel)",
        Kind.CHECK,
        "isinstance(m, transformers.PreTrainedModel)",
        "false for models of this package",
    ),
    (
        "",
        "from transformers import DistilBertModel, FillMaskPipeline as F\nF(DistilBertModel.from_pretrained(p))",
        Kind.CHANGE,
        "F(DistilBertModel.from_pretrained(p))",
        'distilbert.pipeline("fill-mask", model=..., tokenizer=...)',
    ),
    (
        "",
        "from transformers import pipeline\np = pipeline('ner', model='distilbert-x')\np.model.config",
        Kind.CHANGE,
        "p.model",
        "pipeline's config",
    ),
    (
        "",
        "from transformers import pipeline\npipeline('ner', model='distilbert-x', device=0)",
        Kind.CHANGE,
        "pipeline stays",
        "model.to(device)",
    ),
    (
        "",
        "from transformers import DistilBertModel, Trainer\nTrainer(model=DistilBertModel.from_pretrained(p))",
        Kind.CHANGE,
        "Trainer takes models of transformers only",
        "distilbert.finetune",
    ),
]


@pytest.mark.parametrize(("start", "code", "kind", "what", "instead"), NOTED, ids=[row[1][:60] for row in NOTED])
def test_notes(start, code, kind, what, instead):
    notes = rewrite(start + code + "\n").notes
    found = [note for note in notes if what in note.what and instead in note.instead and note.kind is kind]
    assert len(found) == 1, notes
    assert len(notes) == 1
    lines = (start + code).count("\n") + 1
    assert lines - code.count("\n") <= found[0].line <= lines


def test_a_model_of_ones_own_with_all_inputs_in_one_argument():
    own = "class D(C):\n    def call(self, inputs=None, **options):\n        return super().call(inputs, **options)\n"
    notes = [note for note in rewrite(TF + own).notes if note.kind is Kind.CHANGE]
    assert [(note.line, note.what) for note in notes] == [(4, "call(self, inputs, ...)")]
    for first in ("input_ids", "*args"):
        assert not [note for note in rewrite(TF + own.replace("inputs=None", first)).notes if note.kind is Kind.CHANGE]


@pytest.mark.parametrize(
    "text",
    [
        TF + "m.save_weights('x.weights.h5')\nm.load_weights(f'{p}/x.weights.h5')\nm.save('x.keras')\nother.save(p)\n",
        TF + "ModelCheckpoint('x.keras')\nModelCheckpoint(Path(d) / 'x.weights.h5', save_weights_only=True)\n",
        PT + "m.get_input_embeddings().weight\nm.embeddings.word_embeddings.weight\n",
        TF + "tf.reduce_mean(m(x, labels=y)[0])\nm(x, labels=y)[1]\nother(x, labels=y)[0]\n",
        TF + "o = m(x, labels=y)\nl = tf.reduce_mean(o.loss)\n",
        TF + "h = m.fit(d)\nh.history['loss']\nm.compile(optimizer='adam')\nm.predict(d).logits\n",
        PT + "o = m(x)\no.loss.backward()\nm.train()\nm.to(d)\nm.save_pretrained(f)\n",
        FLAX + "m.params = m.params\nm(**x, params=m.params, dropout_rng=k, train=True)[0]\n",
        FLAX + "m.save_pretrained(f, format='flax')\n",
        TOKENIZER + "m.pad_token_id\nm.vocab_size\nm(['a'], padding=True, return_tensors='tf')\nm.batch_decode(x)\n",
        TOKENIZER + "from transformers import DataCollatorWithPadding\nDataCollatorWithPadding(m)\n",
        PT + '"""About transformers.DistilBertModel."""\n',
        CONFIG + "m.hidden_size\nm.to_dict()\nm.num_labels\n",
        PT + "from transformers import get_scheduler, set_seed\nset_seed(0)\n",
        "from transformers import BertModel, Trainer\nTrainer(model=BertModel.from_pretrained('b'))\n",
        "from transformers import AutoModel\nAutoModel.from_pretrained('bert-base-cased')\n",
        "from transformers import pipeline\npipeline('translation')\npipeline('ner')\n",
        "from transformers import create_optimizer\n",
        "import importlib\nimportlib.import_module('transformers').BertModel\n",
    ],
)
def test_nothing_to_note(text):
    assert rewrite(text).notes == ()


def test_keywords_are_those_of_the_classes():
    import inspect

    known = keywords_of(CLASSES["TFDistilBertModel"], "from_pretrained")
    parameters = inspect.signature(pretrained.PreTrained.from_pretrained).parameters
    assert set(parameters) - {"options"} <= known
    assert "_do_init" not in known
    assert "_do_init" in keywords_of(CLASSES["FlaxDistilBertModel"], "from_pretrained")
    assert {"do_lower_case", "revision"} <= keywords_of(CLASSES["DistilBertTokenizer"], "from_pretrained")
    assert not set(DROPPED) & known
    assert RENAMED["pretrained_model_name_or_path"] in known


@pytest.mark.parametrize("framework", ABSENT)
def test_what_is_said_to_be_absent_is(framework):
    row = backend.BACKENDS[framework]
    if row.missing:
        pytest.skip(f"{row.title} is not installed")
    model = backend.load(framework, "the tests").DistilBertForMaskedLM
    assert [name for name in ABSENT[framework] if hasattr(model, name)] == []


def test_pipelines_that_are_advised_are_here():
    assert all(registry.find(task).task == task for task in PIPELINE_CLASSES.values())


def test_what_stays_is_there_and_not_here():
    assert not set(STAYING) & (set(CLASSES) | set(AUTOS))


@pytest.mark.slow
def test_the_default_models_of_pipelines_are_those_of_transformers():
    pytest.importorskip("transformers")
    from transformers.pipelines import SUPPORTED_TASKS

    for task, expected in DEFAULTS.items():
        assert SUPPORTED_TASKS[task]["default"]["model"]["pt"] == expected
    others = {"fill-mask", "token-classification"}
    assert not any("distilbert-" in SUPPORTED_TASKS[task]["default"]["model"]["pt"][0] for task in others)
