// SPDX-License-Identifier: Apache-2.0
// One input through the same checkpoint in two frameworks.

import { get, post } from "./api.js";
import { el } from "./dom.js";
import { choice, form, provenance, textFields } from "./form.js";

const PATH = "page/compare";

export const about = {
  id: "compare",
  title: "Two backends",
  heading: "Two frameworks, one checkpoint",
  lead: "The same input in two frameworks, and how far the model's numbers are apart. The first answer of a framework takes longer: it loads the model.",
};

// kinds: task -> its module.
export async function comparePanel(models, kinds) {
  const { answer: backends } = await get("page/backends");
  const names = choice("compare-model", "Model", models.map((model) => [model.name, model.name]));
  const options = backends.map(({ name, title, installed }) => [name, installed ? title : `${title} (not installed)`]);
  const [first, second] = [choice("compare-first", "First", options), choice("compare-second", "Second", options)];
  const place = el("div");
  let fields;
  let kind;

  function takeModel() {
    const model = models.find(({ name }) => name === names.select.value);
    kind = kinds[model.task];
    fields = textFields(about.id, kind.fields, kind.examples);
    place.replaceChildren(fields.element);
    // An exported file runs in none of them; the server says so.
    first.select.value = backends.some(({ name }) => name === model.backend) ? model.backend : backends[0].name;
    const other = backends.find(({ name, installed }) => installed && name !== first.select.value);
    second.select.value = (other ?? backends.find(({ name }) => name !== first.select.value)).name;
  }

  async function run() {
    const values = fields.values();
    const body = {
      inputs: kind.inputs(values),
      parameters: kind.parameters,
      model: names.select.value,
      backends: [first.select.value, second.select.value],
    };
    const { answer, milliseconds } = await post(PATH, body);
    const results = answer.backends.map((backend) => sideOf(backend, kind.render(backend.result, values)));
    return [
      difference(answer),
      el("div", { class: "columns" }, ...results),
      provenance(`${answer.model}, ${answer.dtype}, ${answer.tokens} tokens`, milliseconds, PATH, body),
    ];
  }

  takeModel();
  const chosen = models.length > 1 ? [names.element, first.element, second.element] : [first.element, second.element];
  const content = [el("div", { class: "choices" }, ...chosen), place];
  const made = form({ id: about.id, action: "Compare", content, fields: () => fields, run });
  names.select.addEventListener("change", () => {
    takeModel();
    made.offer();
    made.output.hidden = true;
  });
  return [made.element, made.output];
}

function difference({ difference: { largest, scale, fields }, same }) {
  const names = fields.join(" and ").replaceAll("_", " ");
  const said = same ? "The results agree in every label, word and place." : "The results do not agree.";
  return el(
    "div",
    { class: "difference" },
    el("p", { class: "figure" }, ...power(largest)),
    el("p", {}, `is the largest difference in the ${names}; the largest number in them is ${scale.toPrecision(3)}.`),
    el("p", { class: same ? "agree" : "agree not" }, said),
  );
}

// 0.0000052 as 5.2 × 10⁻⁶.
function power(value) {
  if (value === 0) return ["0"];
  const [digits, exponent] = value.toExponential(1).split("e");
  return [`${digits} × 10`, el("sup", {}, exponent.replace("-", "−").replace("+", ""))];
}

function sideOf({ title, version, seconds }, nodes) {
  const time = `${(1000 * seconds).toFixed(1)} ms`;
  return el(
    "section",
    { class: "side", "aria-label": title },
    el("h3", {}, title, el("small", {}, ` ${version}`)),
    el("p", { class: "hint" }, `${time} in the model`),
    ...nodes,
  );
}
