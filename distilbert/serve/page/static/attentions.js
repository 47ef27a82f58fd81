// SPDX-License-Identifier: Apache-2.0
// Which tokens a model looks at while it reads.

import { post } from "./api.js";
import { el } from "./dom.js";
import { choice, form, provenance, textFields, titleOf } from "./form.js";
import { detail, overview } from "./heads.js";

const PATH = "page/attentions";

export const about = {
  id: "attention",
  title: "Attention",
  heading: "Look at the attention",
  lead: "How much each token looks at each other one, in every layer and head.",
};

export function attentionPanel(models) {
  const names = choice("attention-model", "Model", models.map((model) => [model.name, model.name]));
  const fields = textFields(about.id, [{ name: "text", label: "Text", rows: 1 }], [
    { text: "The ferry left early because it was full." },
    { text: "The keys to the cabinet are on the table." },
  ]);

  async function run() {
    const body = { ...fields.values(), model: names.select.value };
    const { answer, milliseconds } = await post(PATH, body);
    const large = el("div", { class: "detail" });
    const small = overview(answer.attentions, (layer, head) => {
      const name = `Layer ${layer + 1}, head ${head + 1}`;
      large.replaceChildren(...detail(answer.tokens, answer.attentions[layer][head], name));
    });
    const size = `${answer.attentions.length} layers of ${answer.attentions[0].length} heads`;
    const legend = el("p", { class: "hint" }, `${size}; a layer in each row, the first on top. Choose one to see it large. The stronger the colour, the larger the weight.`);
    const cut = answer.cut ? el("p", { class: "hint" }, `Only the first ${answer.tokens.length} tokens are shown.`) : null;
    const told = `${answer.model} on ${titleOf(answer.backend)}, the plain model in float32`;
    return [
      el("div", { class: "attention" }, el("div", {}, el("h3", {}, "All heads"), small, legend, cut ?? ""), large),
      provenance(told, milliseconds, PATH, body),
    ];
  }

  const content = models.length > 1 ? [names.element, fields.element] : [fields.element];
  const made = form({ id: about.id, action: "Show", content, fields: () => fields, run });
  return [made.element, made.output];
}
