// SPDX-License-Identifier: Apache-2.0
// Names of people, places and whatever else the model was trained to find.

import { bars } from "./bars.js";
import { el } from "./dom.js";
import { marked } from "./spans.js";

export default {
  id: "entities",
  task: "token-classification",
  title: "Entities",
  heading: "Find entities",
  lead: "Words that the model has a label for are marked in the text.",
  action: "Find",
  fields: [{ name: "text", label: "Text", rows: 3 }],
  examples: [
    { text: "Ada Lovelace met Charles Babbage in London and wrote about his engine." },
    { text: "Flying to Berlin with Maria tomorrow, then the new Star Wars at night." },
  ],
  path: "token-classification",
  inputs: ({ text }) => text,
  parameters: { aggregation_strategy: "first" },

  render(result, { text }) {
    const named = result.map((found) => ({ ...found, label: found.entity_group ?? found.entity }));
    if (!named.length) return [marked(text, []), el("p", { class: "hint" }, "Nothing in it has a label.")];
    const characters = Array.from(text);
    const rows = named.map(({ start, end, label, score }) => ({
      name: el("span", {}, characters.slice(start, end).join(""), el("span", { class: "kind" }, label)),
      value: score,
      best: true,
    }));
    return [marked(text, named), bars(rows)];
  },
};
