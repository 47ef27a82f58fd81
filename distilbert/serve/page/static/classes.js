// SPDX-License-Identifier: Apache-2.0
// Classes of a text.

import { bars } from "./bars.js";

export default {
  id: "classes",
  task: "text-classification",
  title: "Classes",
  heading: "Classify a text",
  lead: "All classes that the model knows, the likeliest first.",
  action: "Classify",
  fields: [{ name: "text", label: "Text", rows: 3 }],
  examples: [
    { text: "A warm, funny film that never hurries, and one of the best of the year." },
    { text: "Two hours of noise, and not one line worth remembering." },
    { text: "The first half is slow, the second makes up for it." },
  ],
  path: "text-classification",
  inputs: ({ text }) => text,
  parameters: { top_k: null },

  render(result) {
    const classes = Array.isArray(result) ? result : [result];
    const full = Math.max(1, ...classes.map((found) => Math.abs(found.score))); // a regression's may be above 1
    return [bars(classes.map(({ label, score }, place) => ({ name: label, value: score, best: place === 0 })), full)];
  },
};
