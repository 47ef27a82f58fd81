// SPDX-License-Identifier: Apache-2.0
// Questions to the server that sent this page. Addresses are relative, so that the page works below any path.

let key = "";

export function setKey(value) {
  key = value;
}

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const get = (path) => ask(path, { method: "GET" });

export const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// The answer and how long it took, there and back, in milliseconds.
async function ask(path, options) {
  const headers = key ? { ...options.headers, Authorization: `Bearer ${key}` } : options.headers;
  const start = performance.now();
  let response;
  let text;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
    text = await response.text();
  } catch {
    throw new ServerError("The server cannot be reached. Is it still running?", 0);
  }
  const answer = parsed(text);
  if (!response.ok) throw new ServerError(explained(response, answer), response.status);
  if (answer === undefined) throw new ServerError("The server's answer is not JSON.", response.status);
  return { answer, milliseconds: performance.now() - start };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function explained(response, answer) {
  const said = answer?.error ?? answer?.detail;
  const message = typeof said === "string" ? said : `The server answered with status ${response.status}.`;
  const wait = response.headers.get("Retry-After");
  if (wait) return `${message}\nTry again in ${wait} s.`;
  return response.status === 504 ? `${message}\nA model may still be being loaded; try again.` : message;
}

// What to type into a shell for the same answer.
export function asCurl(path, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const header = key ? ' \\\n  -H "Authorization: Bearer $API_KEY"' : "";
  const address = new URL(path, document.baseURI).href;
  return `curl ${address}${header} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
}
