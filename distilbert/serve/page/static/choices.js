// SPDX-License-Identifier: Apache-2.0
// The likeliest of several endings.

import { bars } from "./bars.js";

export default {
  id: "choices",
  task: "multiple-choice",
  title: "Choices",
  heading: "Choose an ending",
  lead: "A beginning, and one possible ending in each line.",
  action: "Choose",
  fields: [
    { name: "prompt", label: "Beginning", rows: 1 },
    { name: "choices", label: "Endings", rows: 3 },
  ],
  examples: [
    { prompt: "The cup fell off the table.", choices: "It broke into pieces.\nIt flew away.\nIt began to sing." },
  ],
  path: "multiple-choice",
  inputs: ({ prompt, choices }) => ({ prompt, choices: choices.split("\n").filter((line) => line.trim()) }),
  parameters: {},

  render(result) {
    return [bars(result.map(({ choice, score }, place) => ({ name: choice, value: score, best: place === 0 })))];
  },
};
