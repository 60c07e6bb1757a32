// Photos with their faces hidden.

import { request } from "./api.js";
import { byId, counted, goThrough, make, onFiles, onPaste, save } from "./page.js";
import { Picture } from "./picture.js";

export function startHide() {
  onFiles(byId("hide-files"), hideAll);
  onPaste(byId("hide"), hideAll);
}

async function hideAll(files) {
  const chosen = { method: byId("hide-method").value, shape: byId("hide-shape").value };
  await goThrough(files, "hide", async (file, signal) => {
    const words = make("p", {}, "Hiding faces …");
    const card = make("article", { className: "card" }, make("h3", {}, file.name), words);
    byId("hide-results").prepend(card);
    try {
      const fields = { ...chosen, format: file.type === "image/png" ? "png" : "jpeg" };
      const onBusy = () => words.replaceChildren("The server is busy; waiting …");
      const answer = await request("POST", "hide", { fields, files: { photo: file }, signal, onBusy });
      const count = Number(answer.headers.get("Faces-Hidden"));
      show(card, words, await answer.blob(), file.name, count);
      return true;
    } catch (error) {
      words.className = "problem";
      words.textContent = error.message;
      return false;
    }
  });
}

function show(card, words, blob, name, count) {
  const written = `${name.replace(/\.[^.]*$/, "")}-hidden.${blob.type === "image/png" ? "png" : "jpg"}`;
  const picture = new Picture(blob, `${name} with ${counted(count, "place")} hidden`);
  words.textContent = count
    ? `${counted(count, "place")} hidden, where a face is or may be.`
    : "No face was found, so nothing is hidden.";
  const button = make("button", { type: "button" }, `Save ${written}`);
  button.addEventListener("click", () => save(written, blob));
  words.before(picture.element);
  words.after(button);
}
