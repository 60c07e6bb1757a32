// Whether two photos show one person.

import { requestJson } from "./api.js";
import { byId, clearProblem, make, onFiles, onPaste, percent, say, showProblem } from "./page.js";
import { Picture } from "./picture.js";

const NAMES = ["first", "second"];
const chosen = {};

export function startCompare() {
  for (const name of NAMES) onFiles(byId(`${name}-file`), ([file]) => choose(name, file));
  onPaste(byId("compare"), ([file]) => choose(chosen.first && !chosen.second ? "second" : "first", file));
  byId("compare-largest").addEventListener("change", compare);
}

async function choose(name, file) {
  chosen[name]?.picture.forget();
  const picture = new Picture(file, `The ${name} photo, ${file.name}`);
  chosen[name] = { file, picture };
  byId(`${name}-picture`).replaceChildren(picture.element);
  await compare();
}

async function compare() {
  clearProblem();
  byId("comparison").hidden = true;
  if (!NAMES.every((name) => chosen[name])) {
    say("Now choose the other photo.");
    return;
  }
  say("Comparing …");
  try {
    const files = Object.fromEntries(NAMES.map((name) => [name, chosen[name].file]));
    const told = await requestJson("POST", "compare", { fields: { largest: byId("compare-largest").checked }, files });
    NAMES.forEach((name, at) => chosen[name].picture.draw(...told.sides[at], [{ box: told.boxes[at] }]));
    show(told);
  } catch (error) {
    say("");
    showProblem(error);
  }
}

function show(told) {
  const rates = [`The similarity is ${told.similarity.toFixed(3)}; from ${told.threshold.toFixed(3)} on, two faces count as one person's.`];
  if (told.false_accept_rate !== null) {
    rates.push(`With faces of these sizes, ${(100 * told.false_accept_rate).toPrecision(2)} % of pairs of different people reach that`);
    rates.push(`and ${percent(1 - told.true_accept_rate)} of pairs of one person do not.`);
  }
  if (told.probability !== null) {
    const stated = (100 * Math.min(Math.max(told.probability, 0.001), 0.999)).toFixed(1);
    rates.push(`If half of all pairs compared are of one person, this one is with a probability of ${stated} %.`);
  }
  const sizes = told.face_sizes.map(Math.round).join(" and ");
  byId("comparison").replaceChildren(
    make("p", { className: "decision" }, told.decision),
    make("p", {}, rates.join(" ")),
    make("p", {}, `The faces have ${sizes} pixels.`),
    ...told.warnings.map((warning) => make("p", { className: "note" }, warning)),
  );
  byId("comparison").hidden = false;
  say(`Compared: ${told.decision}, similarity ${told.similarity.toFixed(3)}.`);
}
