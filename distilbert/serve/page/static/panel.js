// SPDX-License-Identifier: Apache-2.0
// The part of the page for one task.

import { post } from "./api.js";
import { choice, form, provenance, textFields, titleOf } from "./form.js";

// kind: the task as its module describes it; models: those of the server that can do it.
export function panel(kind, models) {
  const names = choice(`${kind.id}-model`, "Model", models.map((model) => [model.name, model.name]));
  const fields = textFields(kind.id, kind.fields, kind.examples);

  async function run() {
    const values = fields.values();
    const model = models.find(({ name }) => name === names.select.value);
    const body = { inputs: kind.inputs(values), parameters: kind.parameters, model: model.name };
    const { answer, milliseconds } = await post(kind.path, body);
    const told = `${model.name} on ${titleOf(model.backend)}, ${model.dtype}`;
    return [...kind.render(answer, values), provenance(told, milliseconds, kind.path, body)];
  }

  const content = models.length > 1 ? [names.element, fields.element] : [fields.element];
  const { element, output } = form({ id: kind.id, action: kind.action, content, fields: () => fields, run });
  return [element, output];
}
