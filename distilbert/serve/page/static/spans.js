// SPDX-License-Identifier: Apache-2.0
// A text with pieces of it marked. The server counts characters as Python does, by code points; JavaScript does not.

import { el } from "./dom.js";

// spans: [{start, end, label}], in any order; one that overlaps another before it is left out.
export function marked(text, spans) {
  const characters = Array.from(text);
  const piece = (start, end) => characters.slice(start, end).join("");
  const parts = [];
  let place = 0;
  for (const { start, end, label } of [...spans].sort((one, other) => one.start - other.start)) {
    if (start < place || end <= start) continue;
    parts.push(piece(place, start));
    parts.push(el("mark", {}, piece(start, end), label ? el("span", { class: "tag" }, label) : null));
    place = end;
  }
  parts.push(piece(place));
  return el("p", { class: "reading" }, ...parts.filter((part) => part !== ""));
}
