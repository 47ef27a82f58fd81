// SPDX-License-Identifier: Apache-2.0
// One text as vectors: what is compared of models that have no other answer.

import { el } from "./dom.js";

const SHOWN = 12;

const vectors = (task, first, told) => ({
  task,
  fields: [{ name: "text", label: "Text", rows: 2 }],
  examples: [{ text: "The ferry leaves at seven in the morning." }],
  path: task,
  inputs: ({ text }) => text,
  parameters: {},

  render(result) {
    const numbers = first(result);
    return [
      el("p", { class: "hint" }, `${told}: the first ${Math.min(SHOWN, numbers.length)} of ${numbers.length} numbers`),
      el("p", { class: "numbers" }, numbers.slice(0, SHOWN).map((value) => value.toFixed(4)).join("  ")),
    ];
  },
});

export const sentence = vectors("sentence-embedding", (result) => result, "Vector of the text");
export const tokens = vectors("feature-extraction", (result) => result[0][0], "Vector of the first token");
