// SPDX-License-Identifier: Apache-2.0
// What the parts of the page are made of: a form with fields, examples and a button, a message beside it, and a result.

import { asCurl } from "./api.js";
import { el } from "./dom.js";

export const BACKENDS = { pt: "PyTorch", tf: "TensorFlow", flax: "JAX/Flax" };
export const titleOf = (backend) => BACKENDS[backend] ?? backend;

// A labelled choice among [value, text] pairs.
export function choice(id, label, options) {
  const select = el("select", { id }, ...options.map(([value, text]) => el("option", { value }, text)));
  return { select, element: el("div", { class: "field" }, el("label", { for: id }, label), select) };
}

// Fields of text with examples to choose from. values() is what is written in them now.
export function textFields(prefix, fields, examples) {
  const areas = new Map(
    fields.map(({ name, label, rows }) => [
      name,
      { label, area: el("textarea", { id: `${prefix}-${name}`, rows, spellcheck: "false", autocomplete: "off" }) },
    ]),
  );
  const fill = (example) => areas.forEach(({ area }, name) => (area.value = example[name]));
  fill(examples[0]);
  const element = el(
    "div",
    {},
    ...[...areas.values()].map(({ label, area }) =>
      el("div", { class: "field" }, el("label", { for: area.id }, label), area),
    ),
  );
  return {
    element,
    examples: examples.length > 1 ? exampleButtons(examples, fill) : null,
    areas: [...areas.values()].map(({ area }) => area),
    values: () => Object.fromEntries([...areas].map(([name, { area }]) => [name, area.value])),
  };
}

function exampleButtons(examples, fill) {
  const buttons = examples.map((example, number) =>
    el("button", { type: "button", class: "plain", onclick: () => fill(example) }, `${number + 1}`),
  );
  buttons.forEach((button, number) => {
    const start = Object.values(examples[number])[0];
    button.setAttribute("aria-label", `Example ${number + 1}: ${start}`);
    button.setAttribute("title", start);
  });
  return el("p", { class: "examples" }, "Examples", ...buttons);
}

// A form that shows the nodes that `run` answers with, or the error it ends with. `fields()` are those of text.
export function form({ id, action, content, fields, run }) {
  const button = el("button", { type: "submit" }, action);
  const message = el("p", { class: "message", id: `${id}-message`, role: "alert", hidden: true });
  const beside = el("div");
  const output = el("div", { class: "output", hidden: true });
  const status = el("p", { class: "unseen", role: "status" });
  const element = el("form", { novalidate: true, "aria-describedby": message.id }, ...content, message, status, el("div", { class: "actions" }, button, beside));

  function say(error) {
    message.textContent = error ? error.message : "";
    message.hidden = !error;
    fields().areas.forEach((area) => (error ? area.setAttribute("aria-invalid", "true") : area.removeAttribute("aria-invalid")));
  }

  async function submit() {
    if (button.disabled) return;
    button.disabled = true;
    output.setAttribute("aria-busy", "true");
    status.textContent = "";
    try {
      const nodes = await run();
      say(null);
      output.replaceChildren(...nodes);
      output.hidden = false;
      status.textContent = "The answer is below.";
    } catch (error) {
      say(error);
      output.hidden = true;
    } finally {
      button.disabled = false;
      output.removeAttribute("aria-busy");
    }
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "TEXTAREA") return;
    if (event.ctrlKey || event.metaKey || (event.target.rows === 1 && !event.shiftKey)) {
      event.preventDefault();
      submit();
    }
  });
  const offer = () => beside.replaceChildren(fields().examples ?? "");
  offer();
  return { element, output, offer };
}

// Who answered and in what time, and how to ask the same without this page.
export function provenance(told, milliseconds, path, body) {
  const curl = el("details", {}, el("summary", {}, "The same with curl"), el("pre", {}, asCurl(path, body)));
  return el(
    "div",
    { class: "provenance" },
    el("p", {}, `${told}. Answered in ${Math.max(1, Math.round(milliseconds))} ms, there and back.`),
    curl,
  );
}
