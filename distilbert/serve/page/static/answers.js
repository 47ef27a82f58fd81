// SPDX-License-Identifier: Apache-2.0
// The piece of a text that answers a question.

import { bars } from "./bars.js";
import { el } from "./dom.js";
import { marked } from "./spans.js";

export default {
  id: "answers",
  task: "question-answering",
  title: "Answers",
  heading: "Answer from a text",
  lead: "The answer is a piece of the text, and is marked in it.",
  action: "Answer",
  fields: [
    { name: "question", label: "Question", rows: 1 },
    { name: "context", label: "Text", rows: 4 },
  ],
  examples: [
    {
      question: "Who designed the bridge?",
      context:
        "The old bridge over the river was designed by the engineer Clara Weber and opened in 1887. It carried trams " +
        "until 1951, when the city moved them to a tunnel. Since then it has belonged to pedestrians and cyclists.",
    },
    {
      question: "When did the trams stop?",
      context:
        "The old bridge over the river was designed by the engineer Clara Weber and opened in 1887. It carried trams " +
        "until 1951, when the city moved them to a tunnel. Since then it has belonged to pedestrians and cyclists.",
    },
  ],
  path: "question-answering",
  inputs: ({ question, context }) => ({ question, context }),
  parameters: { top_k: 4 },

  render(result, { context }) {
    const answers = (Array.isArray(result) ? result : [result]).filter((found) => found.answer);
    if (!answers.length) return [marked(context, []), el("p", { class: "hint" }, "The model finds no answer in it.")];
    const rows = answers.map((found, place) => ({ name: found.answer, value: found.score, best: place === 0 }));
    return [marked(context, answers.slice(0, 1)), bars(rows)];
  },
};
