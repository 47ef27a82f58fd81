// SPDX-License-Identifier: Apache-2.0
// Numbers as bars, each with its name and its value written beside it.

import { el } from "./dom.js";

// entries: [{name, value, best}]; a bar is full at `full`.
export function bars(entries, full = 1) {
  return el("ol", { class: "bars" }, ...entries.map((entry) => bar(entry, full)));
}

function bar({ name, value, best }, full) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${Math.min(Math.max(value / full, 0), 1) * 100}%`;
  return el(
    "li",
    { class: best ? "bar best" : "bar" },
    el("span", { class: "name" }, name),
    el("span", { class: "track", "aria-hidden": "true" }, fill),
    el("span", { class: "value" }, share(value)),
  );
}

// Three digits behind the point, and more where there would be nothing else.
export function share(value) {
  if (value !== 0 && Math.abs(value) < 0.0005) return value.toExponential(1);
  return value.toFixed(3);
}
