# SPDX-License-Identifier: Apache-2.0
"""Extractive question answering."""

import sys

from transformers import pipeline

question_answerer = pipeline("question-answering", model=sys.argv[1], tokenizer=sys.argv[1], framework="pt", device=-1)
context = "the best film of the year is a fine film . the worst film of the year is a dull film ."
result = question_answerer(question="the best film ?", context=context)
print(result["score"], result["start"], result["end"])
for answer in question_answerer({"question": "the worst ?", "context": context}, top_k=3, max_answer_len=4):
    print(answer["score"], answer["start"], answer["end"])
