// The gallery: people by name.

import { Problem, request, requestJson } from "./api.js";
import { byId, clearProblem, counted, make, onFiles, save, say, showProblem } from "./page.js";

let photos = [];

export function startPeople() {
  onFiles(byId("add-files"), (files) => {
    photos = files;
    byId("add-chosen").textContent = files.map((file) => file.name).join(", ");
  });
  byId("add-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(add);
  });
  byId("gallery-save").addEventListener("click", () =>
    attempt(async () => save("people.gallery", await (await request("GET", "gallery")).blob())),
  );
  onFiles(byId("gallery-file"), ([file]) =>
    attempt(async () => {
      await refreshPeople(await requestJson("PUT", "gallery", { files: { gallery: file } }));
      say(`The people of ${file.name} are in the gallery.`);
    }),
  );
  byId("gallery-clear").addEventListener("click", () => {
    if (!confirm("Forget everybody in the gallery? What is stored in its file is removed too.")) return;
    attempt(async () => {
      await refreshPeople(await requestJson("DELETE", "gallery"));
      say("Nobody is in the gallery any more.");
    });
  });
}

async function attempt(work) {
  clearProblem();
  try {
    await work();
  } catch (error) {
    showProblem(error);
  }
}

async function add() {
  const name = byId("add-name").value;
  if (!photos.length) throw new Problem("Choose a photo of this person first.", "request");
  let done = 0;
  for (const photo of photos) {
    const fields = { name, extend: done > 0, allow_small: byId("add-small").checked, allow_poor: byId("add-poor").checked };
    try {
      await refreshPeople(await requestJson("POST", "people", { fields, files: { photo } }));
    } catch (error) {
      throw new Problem(`${photo.name}: ${error.message}`, error.kind);
    }
    done += 1;
    say(`${name}: ${done} of ${counted(photos.length, "photo")} added`);
  }
  say(`${name} is in the gallery.`);
  photos = [];
  byId("add-form").reset();
  byId("add-chosen").textContent = "No photo is chosen.";
}

// Shows who is in the gallery, as told or as asked for.
export async function refreshPeople(told = null) {
  const { people, stored_in: file } = told ?? (await requestJson("GET", "people"));
  byId("people-where").textContent =
    (people.length ? `${counted(people.length, "name")} in the gallery, ` : "Nobody is in the gallery yet. It is ") +
    (file ? `stored in ${file}.` : "in memory alone: gone when the server stops, unless you save it.");
  byId("people-list").replaceChildren(...people.map(row));
}

function row({ name, embeddings }) {
  const remove = make("button", { type: "button", className: "danger" }, "Forget");
  remove.setAttribute("aria-label", `Forget ${name}`);
  remove.addEventListener("click", () =>
    attempt(async () => {
      await refreshPeople(await requestJson("DELETE", "people", { fields: { name } }));
      say(`${name} is forgotten.`);
      byId("add-name").focus();
    }),
  );
  return make("li", {}, make("span", {}, name), counted(embeddings, "photo"), remove);
}
