// The camera: a photo of what it sees, or faces shown all the time.

import { Problem, requestJson } from "./api.js";
import { analyse, inWords, wanted } from "./faces.js";
import { byId, clearProblem, counted, say, showProblem } from "./page.js";
import { drawing } from "./picture.js";

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it in the browser's settings for this page.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is there, but cannot be read. Is another program using it?",
  AbortError: "The camera stopped.",
};

let stream = null;

export function startCamera() {
  byId("camera-on").addEventListener("click", turnOn);
  byId("camera-off").addEventListener("click", turnOff);
  byId("camera-take").addEventListener("click", async () => {
    const time = new Date().toISOString().slice(11, 19).replaceAll(":", "-");
    await analyse([new File([await frame()], `camera-${time}.jpg`, { type: "image/jpeg" })]);
  });
  byId("camera-live").addEventListener("change", showAllTheTime);
}

async function turnOn() {
  clearProblem();
  if (!navigator.mediaDevices) {
    showProblem(new Problem("Browsers give the camera to pages of this machine, or over https, alone.", "camera"));
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
  } catch (error) {
    showProblem(new Problem(REASONS[error.name] ?? `The camera cannot be used: ${error.message}`, "camera"));
    return;
  }
  const video = byId("camera-video");
  video.srcObject = stream;
  await video.play();
  byId("camera").hidden = false;
  byId("camera-title").focus();
  say("The camera is on.");
}

export function turnOff() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  byId("camera-live").checked = false;
  byId("camera-video").srcObject = null;
  byId("camera").querySelector("svg")?.remove();
  byId("camera-words").textContent = "";
  byId("camera").hidden = true;
  byId("camera-on").focus();
  say("The camera is off.");
}

// What the camera sees now, as a JPEG file.
function frame() {
  const video = byId("camera-video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

async function showAllTheTime() {
  const words = byId("camera-words");
  while (stream && byId("camera-live").checked) {
    try {
      const told = await requestJson("POST", "faces", { fields: wanted(), files: { photo: await frame() } });
      if (!stream || !byId("camera-live").checked) break;
      byId("camera").querySelector("svg")?.remove();
      byId("camera-video").after(drawing(told.width, told.height, told.faces));
      words.textContent = [counted(told.faces.length, "face"), ...told.faces.map((face) => inWords(face).join(", "))].join("; ");
    } catch (error) {
      byId("camera-live").checked = false;
      showProblem(error);
    }
  }
  byId("camera").querySelector("svg")?.remove();
  words.textContent = "";
}
