// SPDX-License-Identifier: Apache-2.0
// Attention weights as pictures: a small one for each head, and a large one with names and values.
//
// The shade is the square root of the weight, so that small weights can be seen beside large ones.

import { el, svg } from "./dom.js";
import { rove } from "./roving.js";

const FINE = 24; // tokens: of more, a small picture has less than a dot for each

let repaint = () => {};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint());

const shade = (weight) => Math.sqrt(Math.min(Math.max(weight, 0), 1));

// A row of small pictures for each layer. onChoose(layer, head) when one is chosen.
export function overview(attentions, onChoose) {
  const buttons = [];
  const pictures = [];
  const rows = attentions.map((heads, layer) => {
    const cells = heads.map((weights, head) => {
      const [count, look] = [weights.length, weights.length > FINE ? "fine" : "coarse"];
      const picture = el("canvas", { class: look, width: count, height: count, "aria-hidden": "true" });
      pictures.push([picture, weights]);
      const name = `Layer ${layer + 1}, head ${head + 1}`;
      const button = el("button", { type: "button", class: "head", "aria-label": name, title: name }, picture);
      button.addEventListener("click", () => choose(button, layer, head));
      buttons.push(button);
      return button;
    });
    return el("div", { class: "layer" }, el("span", { class: "layer-name" }, `${layer + 1}`), ...cells);
  });
  const enter = rove(buttons, attentions[0].length);

  function choose(button, layer, head) {
    buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    enter(button);
    onChoose(layer, head);
  }

  const element = el("div", { class: "heads", role: "group", "aria-label": "Layers from above, heads from the left" }, ...rows);
  repaint = () => pictures.forEach(([picture, weights]) => paint(picture, weights, accent(element)));
  requestAnimationFrame(repaint); // its colour is known once it is part of the page
  choose(buttons[0], 0, 0);
  return element;
}

function accent(element) {
  const [red, green, blue] = getComputedStyle(element).color.match(/[\d.]+/g).map(Number);
  return [red, green, blue];
}

function paint(picture, weights, [red, green, blue]) {
  const context = picture.getContext("2d");
  const image = context.createImageData(weights.length, weights.length);
  weights.flat().forEach((weight, place) => image.data.set([red, green, blue, 255 * shade(weight)], 4 * place));
  context.putImageData(image, 0, 0);
}

// One head: a row for each token that looks, a column for each that is looked at.
export function detail(tokens, weights, name) {
  const count = tokens.length;
  const cell = Math.max(9, Math.min(27, Math.floor(560 / count)));
  const font = Math.max(8, Math.min(13, cell - 1));
  const margin = Math.ceil(Math.max(...tokens.map((token) => Array.from(token).length)) * font * 0.62) + 10;
  const side = margin + count * cell + 1;

  const rows = tokens.map((token, i) =>
    svg("text", { x: margin - 6, y: margin + (i + 0.5) * cell, "text-anchor": "end", "dominant-baseline": "central" }, token),
  );
  const columns = tokens.map((token, i) => {
    const place = `translate(${margin + (i + 0.5) * cell} ${margin - 6}) rotate(-90)`;
    return svg("text", { transform: place, "dominant-baseline": "central" }, token);
  });
  const cells = weights.flatMap((row, i) =>
    row.map((weight, j) =>
      svg("rect", {
        x: margin + j * cell,
        y: margin + i * cell,
        width: cell,
        height: cell,
        "fill-opacity": shade(weight).toFixed(3),
      }),
    ),
  );
  const frame = svg("rect", { class: "frame", x: margin, y: margin, width: count * cell, height: count * cell });
  const cursor = svg("rect", { class: "cursor", width: cell, height: cell, visibility: "hidden" });
  const picture = svg(
    "svg",
    {
      class: "map",
      viewBox: `0 0 ${side} ${side}`,
      width: side,
      height: side,
      "font-size": font,
      tabindex: 0,
      role: "application",
      "aria-roledescription": "attention map",
      "aria-label": `${name}. Arrow keys go from weight to weight.`,
    },
    svg("g", { class: "names" }, ...rows, ...columns),
    svg("g", { class: "cells" }, ...cells),
    frame,
    cursor,
  );
  const readout = el("p", { class: "readout", "aria-live": "polite" }, "Point at a square, or use the arrow keys, to read its weight.");
  let here = [0, 0];

  function show(i, j) {
    here = [i, j];
    cursor.setAttribute("x", margin + j * cell);
    cursor.setAttribute("y", margin + i * cell);
    cursor.setAttribute("visibility", "visible");
    rows.forEach((row, place) => row.classList.toggle("on", place === i));
    columns.forEach((column, place) => column.classList.toggle("on", place === j));
    readout.replaceChildren(
      el("b", {}, tokens[i]),
      " looks at ",
      el("b", {}, tokens[j]),
      " with the weight ",
      el("b", { class: "weight" }, weights[i][j].toFixed(4)),
    );
  }

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = (offset, length) => Math.floor(((offset / length) * side - margin) / cell);
    const [i, j] = [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
    if (i >= 0 && j >= 0 && i < count && j < count) show(i, j);
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (value) => Math.min(Math.max(value, 0), count - 1);
    show(within(here[0] + step[0]), within(here[1] + step[1]));
  });
  return [el("h3", {}, name), readout, el("div", { class: "map-frame" }, picture)];
}
