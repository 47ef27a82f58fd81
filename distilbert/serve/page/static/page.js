// SPDX-License-Identifier: Apache-2.0
// Asks the server what it has, and shows the parts for that as tabs.

import answers from "./answers.js";
import { get, setKey } from "./api.js";
import { about as aboutAttention, attentionPanel } from "./attentions.js";
import choices from "./choices.js";
import classes from "./classes.js";
import { about as aboutCompare, comparePanel } from "./compare.js";
import { el } from "./dom.js";
import entities from "./entities.js";
import { titleOf } from "./form.js";
import masks from "./masks.js";
import { panel } from "./panel.js";
import { rove } from "./roving.js";
import similarity from "./similarity.js";
import * as vectors from "./vectors.js";

const KINDS = [masks, entities, answers, classes, similarity, choices];
const COMPARED = Object.fromEntries(
  [masks, entities, answers, classes, choices, vectors.sentence, vectors.tokens].map((kind) => [kind.task, kind]),
);
const byId = (id) => document.getElementById(id);

async function start() {
  const { answer } = await get("info");
  const models = answer.models.map(({ model_id: name, model_dtype: dtype, ...model }) => ({ ...model, name, dtype }));
  byId("served").textContent = summary(models);
  byId("key").hidden = true;
  const parts = [];
  for (const kind of KINDS) {
    const able = models.filter((model) => model.tasks.includes(kind.task));
    if (able.length) parts.push([kind, panel(kind, able)]);
  }
  parts.push([aboutAttention, attentionPanel(models)]);
  parts.push([aboutCompare, await comparePanel(models, COMPARED)]);
  show(parts);
}

function summary(models) {
  const told = ({ name, backend, dtype }) => `${name} (${titleOf(backend)}, ${dtype})`;
  const [{ backend, dtype }] = models;
  if (models.length === 1) return `Serving ${told(models[0])}.`;
  const alike = models.every((model) => model.backend === backend && model.dtype === dtype);
  const list = models.map((model) => (alike ? model.name : told(model))).join(", ");
  return `Serving ${models.length} models${alike ? ` on ${titleOf(backend)} in ${dtype}` : ""}: ${list}.`;
}

function show(parts) {
  const tabs = parts.map(([{ id, title }]) =>
    el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": id, "data-part": id }, title),
  );
  const panels = parts.map(([{ id, heading, lead }, nodes]) =>
    el(
      "section",
      { id, role: "tabpanel", "aria-labelledby": `tab-${id}` },
      el("div", { class: "ask" }, el("h2", {}, heading), el("p", { class: "lead" }, lead), nodes[0]),
      nodes[1],
    ),
  );
  const open = (id) => {
    tabs.forEach((tab) => tab.setAttribute("aria-selected", String(tab.dataset.part === id)));
    panels.forEach((part) => (part.hidden = part.id !== id));
    enter(tabs.find((tab) => tab.dataset.part === id));
  };
  const choose = (tab) => {
    open(tab.dataset.part);
    history.replaceState(null, "", `#${tab.dataset.part}`);
  };
  const enter = rove(tabs, 1, choose);
  tabs.forEach((tab) => tab.addEventListener("click", () => choose(tab)));
  const wanted = () => parts.find(([{ id }]) => `#${id}` === location.hash) ?? parts[0];
  window.addEventListener("hashchange", () => open(wanted()[0].id));
  byId("tabs").replaceChildren(...tabs);
  byId("tabs").hidden = false;
  byId("panels").replaceChildren(...panels);
  open(wanted()[0].id);
}

async function begin() {
  try {
    await start();
  } catch (error) {
    byId("served").textContent = error.message;
    byId("key").hidden = error.status !== 401;
  }
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(byId("key-value").value);
  begin();
});
begin();
