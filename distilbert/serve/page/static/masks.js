// SPDX-License-Identifier: Apache-2.0
// Words for [MASK].

import { bars } from "./bars.js";
import { el } from "./dom.js";

const MASK = "[MASK]";
const WORDS = 6;

export default {
  id: "masks",
  task: "fill-mask",
  title: "Masks",
  heading: "Fill in the masks",
  lead: "Write [MASK] where a word is missing, once or several times.",
  action: "Fill in",
  fields: [{ name: "text", label: "Sentence", rows: 2 }],
  examples: [
    { text: "She opened the [MASK] and let him in." },
    { text: "The old sailor looked out over the [MASK]." },
    { text: "The [MASK] was built in the 19th [MASK]." },
  ],
  path: "fill-mask",
  inputs: ({ text }) => text,
  parameters: { top_k: WORDS },

  render(result, { text }) {
    const masks = Array.isArray(result[0]) ? result : [result];
    const lists = masks.map((words, number) =>
      el(
        "div",
        {},
        masks.length > 1 ? el("h3", {}, `Mask ${number + 1}`) : null,
        bars(words.map((word, place) => ({ name: word.token_str, value: word.score, best: place === 0 }))),
      ),
    );
    return [filled(text, masks), el("div", { class: masks.length > 1 ? "columns" : "" }, ...lists)];
  },
};

// The sentence with the best word for each mask.
function filled(text, masks) {
  const pieces = text.split(MASK);
  const parts = pieces.flatMap((piece, place) =>
    place < masks.length && place < pieces.length - 1 ? [piece, el("mark", {}, masks[place][0].token_str)] : [piece],
  );
  return el("p", { class: "reading" }, ...parts);
}
