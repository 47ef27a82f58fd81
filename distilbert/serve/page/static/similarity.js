// SPDX-License-Identifier: Apache-2.0
// How near two sentences are: the cosine of the angle between their vectors.

import { bars } from "./bars.js";
import { el } from "./dom.js";

export default {
  id: "similarity",
  task: "sentence-embedding",
  title: "Similarity",
  heading: "Compare two sentences",
  lead: "By the angle between their vectors: 1 for the same meaning, 0 for nothing in common.",
  action: "Compare",
  fields: [
    { name: "first", label: "First sentence", rows: 1 },
    { name: "second", label: "Second sentence", rows: 1 },
  ],
  examples: [
    { first: "The ferry leaves at seven in the morning.", second: "Our boat departs early." },
    { first: "The ferry leaves at seven in the morning.", second: "The soup needs more salt." },
  ],
  path: "sentence-embedding",
  inputs: ({ first, second }) => [first, second],
  parameters: {},

  render([first, second]) {
    const value = cosine(first, second);
    return [
      el("p", { class: "figure" }, value.toFixed(3)),
      bars([{ name: "Cosine similarity", value, best: true }]),
      el("p", { class: "hint" }, `Between two vectors of ${first.length} numbers.`),
    ];
  },
};

export function cosine(first, second) {
  const dot = (one, other) => one.reduce((sum, value, place) => sum + value * other[place], 0);
  const length = Math.sqrt(dot(first, first) * dot(second, second));
  return length ? Math.min(Math.max(dot(first, second) / length, -1), 1) : 0;
}
