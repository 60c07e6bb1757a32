// What all parts of the page share: making elements, messages, choosing files, saving files.

import { Problem } from "./api.js";

export const byId = (id) => document.getElementById(id);

// An element with properties and children; texts are texts, never markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// Says what is going on, for the eye and for screen readers.
export function say(words) {
  byId("status").textContent = words;
}

export function showProblem(error) {
  const place = byId("problem");
  place.textContent = error.message;
  place.hidden = false;
  if (error.kind === undefined) console.error(error);
}

export function clearProblem() {
  byId("problem").hidden = true;
  byId("problem").textContent = "";
}

// Calls `take` with files that are chosen, dropped into the box of the input, or pasted while it is in view.
export function onFiles(input, take) {
  const box = input.closest(".drop");
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) take(files);
  });
  if (!box) return;
  for (const name of ["dragenter", "dragover"]) {
    box.addEventListener(name, (event) => {
      event.preventDefault();
      box.classList.add("over");
    });
  }
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
    else showProblem(new Problem("What was dropped is no file.", "request"));
  });
}

// Calls `take` with images that are pasted while the section is shown.
export function onPaste(section, take) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (section.hidden || !files.length) return;
    event.preventDefault();
    take(files);
  });
}

export function save(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function counted(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

// Goes through files, some at a time, with a progress bar and a button to cancel. `work` gets a file and a signal.
export async function goThrough(files, name, work) {
  const row = byId(`${name}-progress`);
  const bar = byId(`${name}-bar`);
  const cancel = byId(`${name}-cancel`);
  const control = new AbortController();
  const stop = () => control.abort();
  cancel.addEventListener("click", stop);
  Object.assign(bar, { max: files.length, value: 0 });
  row.hidden = false;
  clearProblem();
  let done = 0;
  let failed = 0;
  const left = [...files];
  const one = async () => {
    while (left.length && !control.signal.aborted) {
      const file = left.shift();
      say(`${done} of ${counted(files.length, "photo")} done; working on ${file.name}`);
      if (!(await work(file, control.signal))) failed += 1;
      done += 1;
      bar.value = done;
    }
  };
  await Promise.all([one(), one()]);
  cancel.removeEventListener("click", stop);
  row.hidden = true;
  const rest = files.length - done;
  say(
    `${counted(done, "photo")} done` +
      (failed ? `, ${failed} with problems` : "") +
      (rest ? `, ${rest} cancelled.` : "."),
  );
}
