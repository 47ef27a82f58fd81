# SPDX-License-Identifier: Apache-2.0
"""Labels of words with Auto classes in PyTorch, and the same by a pipeline."""

import sys

import torch
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer, pipeline

config = AutoConfig.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForTokenClassification.from_pretrained(
    sys.argv[1],
    config=config,
    low_cpu_mem_usage=True,
    attn_implementation="eager",
)
model.eval()

words = ["the", "best", "film", "of", "the", "year"]
encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**encoded).logits
places = [place for place in encoded.word_ids() if place is not None]
print(*logits.ravel().tolist())
print(*places)
labels = [model.config.id2label[number] for number in logits.argmax(-1)[0].tolist()]
print(*(label.removeprefix("LABEL_") for label in labels))

recognise = pipeline("ner", model=model, tokenizer=tokenizer, aggregation_strategy="simple")
for entity in recognise("the best film of the year"):
    print(entity["score"], entity["start"], entity["end"])
