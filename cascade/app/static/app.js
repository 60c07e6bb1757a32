// Starts the page: tabs, the token, and its parts.

import { requestJson, setToken, takeToken, whenTokenIsMissing } from "./api.js";
import { startCamera, turnOff } from "./camera.js";
import { startCompare } from "./compare.js";
import { startFaces } from "./faces.js";
import { startHide } from "./hide.js";
import { byId, clearProblem, say, showProblem } from "./page.js";
import { refreshPeople, startPeople } from "./people.js";

const tabs = [...document.querySelectorAll('[role="tab"]')];

function select(chosen) {
  for (const tab of tabs) {
    const on = tab === chosen;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
  }
  turnOff();
  clearProblem();
  say("");
}

function startTabs() {
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => {
      select(tab);
      tab.focus();
    });
    tab.addEventListener("keydown", (event) => {
      let next = null;
      if (event.key in steps) next = (at + steps[event.key] + tabs.length) % tabs.length;
      if (event.key === "Home") next = 0;
      if (event.key === "End") next = tabs.length - 1;
      if (next === null) return;
      event.preventDefault();
      select(tabs[next]);
      tabs[next].focus();
    });
  });
}

function startToken() {
  const form = byId("token-form");
  takeToken();
  window.addEventListener("hashchange", () => {
    takeToken();
    load();
  });
  whenTokenIsMissing(() => {
    form.hidden = false;
    byId("token").focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(byId("token").value);
    form.hidden = true;
    load();
  });
}

async function load() {
  clearProblem();
  try {
    const told = await requestJson("GET", "about");
    const megabytes = Math.round(told.limits.photo_bytes / 2 ** 20);
    const megapixels = Math.round(told.limits.photo_pixels / 1e6);
    byId("about").textContent =
      `cascade ${told.version}. Photos of up to ${megabytes} MB and ${megapixels} megapixels. ` +
      "Nothing is stored unless you save it.";
    await refreshPeople();
  } catch (error) {
    showProblem(error);
  }
}

// a photo that misses the box must not take the place of the page
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

startTabs();
startToken();
startFaces();
startCamera();
startCompare();
startPeople();
startHide();
load();
