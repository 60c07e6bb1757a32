// Faces in photos: where they are, how they look, who they may be.

import { request, requestJson } from "./api.js";
import { byId, clearProblem, counted, goThrough, make, onFiles, onPaste, percent, save, say, showProblem } from "./page.js";
import { refreshPeople } from "./people.js";
import { Picture } from "./picture.js";

const results = new Map(); // from cards to what is known of their photos
let cards = 0; // made so far

export function startFaces() {
  const take = (files) => analyse(files);
  onFiles(byId("faces-files"), take);
  onPaste(byId("faces"), take);
  const ethnicity = byId("want-ethnicity");
  ethnicity.addEventListener("change", () => {
    byId("ethnicity-note").hidden = !ethnicity.checked;
  });
  byId("save-json").addEventListener("click", () => {
    save("faces.json", new Blob([JSON.stringify(known(), null, 1)], { type: "application/json" }));
  });
  byId("save-csv").addEventListener("click", saveCsv);
  byId("faces-again").addEventListener("click", () => {
    const files = [...results.keys()].map((card) => card.file);
    clear();
    analyse(files);
  });
  byId("faces-clear").addEventListener("click", () => {
    clear();
    say("The results are gone.");
    byId("faces-files").focus();
  });
}

export function wanted() {
  const checked = (name) => byId(`want-${name}`).checked;
  return Object.fromEntries(["attributes", "landmarks", "ethnicity", "find"].map((name) => [name, checked(name)]));
}

export async function analyse(files) {
  await goThrough(files, "faces", async (file, signal) => {
    const card = new Card(file);
    try {
      const onBusy = () => card.say("The server is busy; waiting …");
      const told = await requestJson("POST", "faces", { fields: wanted(), files: { photo: file }, signal, onBusy });
      results.set(card, { path: file.name, ...told });
      card.show(told);
      byId("faces-actions").hidden = false;
      return true;
    } catch (error) {
      card.fail(error);
      return false;
    }
  });
}

const known = () => [...results.values()];

async function saveCsv() {
  clearProblem();
  try {
    save("faces.csv", await (await request("POST", "csv", { json: known() })).blob());
  } catch (error) {
    showProblem(error);
  }
}

function clear() {
  for (const card of results.keys()) card.picture.forget();
  results.clear();
  byId("faces-results").replaceChildren();
  byId("faces-actions").hidden = true;
  clearProblem();
}

class Card {
  constructor(file) {
    cards += 1;
    this.file = file;
    this.picture = new Picture(file, `The photo ${file.name}`);
    this.words = make("p", {}, "Looking for faces …");
    const title = make("h3", { id: `card-${cards}` }, file.name);
    this.element = make("article", { className: "card", "aria-labelledby": title.id }, title, this.picture.element, this.words);
    byId("faces-results").prepend(this.element);
  }

  say(words) {
    this.words.textContent = words;
  }

  fail(error) {
    if (!this.picture.image.complete || !this.picture.image.naturalWidth) this.picture.element.hidden = true;
    this.words.className = "problem";
    this.say(error.message);
  }

  show(told) {
    this.picture.draw(told.width, told.height, told.faces);
    this.picture.image.alt = `The photo ${this.file.name} with ${counted(told.faces.length, "face")}`;
    this.say([told.faces.length ? counted(told.faces.length, "face") : "No face was found", ...told.warnings].join("; "));
    const list = make("ol", {});
    told.faces.forEach((face, at) => list.append(this.row(face, at)));
    this.element.append(list);
  }

  row(face, at) {
    const choose = make("button", { type: "button", "aria-pressed": "false" }, `Face ${at + 1}`);
    choose.addEventListener("click", () => {
      const on = choose.getAttribute("aria-pressed") === "false";
      for (const other of this.element.querySelectorAll("li button[aria-pressed]")) other.setAttribute("aria-pressed", "false");
      choose.setAttribute("aria-pressed", String(on));
      this.picture.choose(on ? at : -1);
    });
    const words = make("span", {}, ` ${inWords(face).join(", ")}`);
    return make("li", {}, choose, words, this.nameForm(at));
  }

  nameForm(at) {
    const input = make("input", { maxLength: 200, autocomplete: "off", required: true, placeholder: "Name" });
    input.setAttribute("aria-label", `Name of face ${at + 1}`);
    const told = make("span", {});
    told.setAttribute("role", "status");
    const form = make("form", {}, input, make("button", {}, "Add to people"), told);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      await this.name(at, input.value, told);
    });
    return form;
  }

  async name(at, name, told, extend = false) {
    told.className = "";
    told.textContent = "…";
    try {
      const fields = { name, face: at + 1, extend };
      await refreshPeople(await requestJson("POST", "people", { fields, files: { photo: this.file } }));
      told.textContent = `${name} is in the gallery now.`;
    } catch (error) {
      told.className = "problem";
      told.textContent = error.message;
      if (error.kind !== "exists") return;
      const add = make("button", { type: "button" }, `It is the same ${name}: add the photo`);
      add.addEventListener("click", () => this.name(at, name, told, true));
      told.append(" ", add);
    }
  }
}

// What is said of a face, one thing each.
export function inWords(face) {
  const [x1, y1, x2, y2] = face.box.map(Math.round);
  const words = [`${x2 - x1} × ${y2 - y1} pixels, score ${face.score.toFixed(2)}`];
  if (face.matches) {
    const likely = face.matches.map((match) => `${match.name} (similarity ${match.similarity.toFixed(2)})`);
    words.unshift(face.too_small_to_match ? "too small to tell who it is" : likely.length ? `maybe ${likely.join(" or ")}` : "nobody of the gallery");
  }
  if (face.unknown) return [...words, `nothing more is said: ${face.unknown}`];
  if (face.age !== null) words.push(`looks ${Math.round(face.age)} years old`);
  for (const name of ["gender", "expression", "ethnicity"]) {
    if (face[name] !== null) words.push(`${name} ${face[name]} ${percent(face[`${name}_probability`])}`);
  }
  if (face.smile !== null) words.push(`${face.smile === "yes" ? "smiling" : "not smiling"} ${percent(face.smile_probability)}`);
  if (face.yaw !== null) words.push(`yaw ${Math.round(face.yaw)}°, pitch ${Math.round(face.pitch)}°, roll ${Math.round(face.roll)}°`);
  return words;
}
