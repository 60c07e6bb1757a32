// A photo with faces drawn over it. The drawing is in pixels of the photo and grows with it.

import { make } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";

// A figure of a file; `draw` adds faces once they are known.
export class Picture {
  constructor(file, description) {
    this.address = URL.createObjectURL(file);
    this.image = make("img", { src: this.address, alt: description });
    this.element = make("div", { className: "picture" }, this.image);
    this.image.addEventListener("error", () => this.withoutPreview());
  }

  // Of TIFF and HEIC files most browsers show nothing.
  withoutPreview() {
    this.image.replaceWith(make("p", { className: "no-preview" }, "This browser cannot show this kind of photo."));
  }

  draw(width, height, faces) {
    this.element.querySelector("svg")?.remove();
    this.drawing = drawing(width, height, faces);
    this.element.append(this.drawing);
  }

  choose(number) {
    this.drawing?.querySelectorAll("rect").forEach((box, at) => box.classList.toggle("chosen", at === number));
  }

  forget() {
    URL.revokeObjectURL(this.address);
    this.element.remove();
  }
}

export function drawing(width, height, faces) {
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  faces.forEach((face, at) => {
    const [x1, y1, x2, y2] = face.box;
    const size = Math.max((x2 - x1) * 0.22, width / 45);
    svg.append(node("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    const points = face.points ?? [];
    for (const [x, y] of points) svg.append(node("circle", { cx: x, cy: y, r: Math.max((x2 - x1) / 110, 0.5) }));
    if (face.landmarks) {
      for (const [x, y] of Object.values(face.landmarks)) {
        svg.append(node("circle", { cx: x, cy: y, r: Math.max((x2 - x1) / 45, 1), class: "landmark" }));
      }
    }
    const label = node("text", { x: x1, y: y1 > size ? y1 - size * 0.25 : y2 + size, "font-size": size });
    label.textContent = face.matches?.length ? `${at + 1} ${face.matches[0].name}` : faces.length > 1 ? `${at + 1}` : "";
    svg.append(label);
  });
  return svg;
}

function node(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
