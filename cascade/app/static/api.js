// Requests to the server. What goes wrong is a Problem, whose message is for the person at the page.

const MOST_TRIES = 30;
const TOKEN = "cascade-token"; // of this tab alone, until it is closed

let onToken = () => {};

export class Problem extends Error {
  constructor(message, kind) {
    super(message);
    this.kind = kind;
  }
}

// Calls `ask` where the server wants a token.
export function whenTokenIsMissing(ask) {
  onToken = ask;
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

// Takes the token out of the address, so that it is not in the history.
export function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    setToken(decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname);
  }
}

// The answer to a request; `fields` become the query, `files` a form. A busy server is asked again.
export async function request(method, path, { fields = {}, files = null, json = null, signal = null, onBusy = null } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(method, path, fields, files, json, signal);
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    if (answer.status === 401) onToken();
    if (answer.status !== 503 || attempt === MOST_TRIES) throw problem;
    onBusy?.();
    await pause(1000 * (Number(answer.headers.get("Retry-After")) || 1) * (0.5 + Math.random()), signal);
  }
}

export async function requestJson(method, path, options) {
  return (await request(method, path, options)).json();
}

async function send(method, path, fields, files, json, signal) {
  const query = new URLSearchParams(fields).toString();
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  let body = null;
  if (files) {
    body = new FormData();
    for (const [name, file] of Object.entries(files)) body.append(name, file, file.name || name);
  } else if (json) {
    body = JSON.stringify(json);
    headers["Content-Type"] = "application/json";
  }
  try {
    return await fetch(`api/${path}${query ? `?${query}` : ""}`, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw new Problem("Cancelled.", "cancelled");
    throw new Problem("The server does not answer. Is `cascade app` still running?", "gone");
  }
}

async function problemOf(answer) {
  try {
    const told = await answer.json();
    return new Problem(told.error, told.kind);
  } catch {
    return new Problem(`The server answered with status ${answer.status}.`, "status");
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Problem("Cancelled.", "cancelled"));
    });
  });
}
