// The detector in a browser, on onnxruntime-web: the same stages as detect_onnx.py beside it, which says more on them.
//
// A photo is {data, width, height} with RGBA bytes, as canvas gives it; levels and crops have three bytes a pixel.
import * as ort from "./ort/ort.wasm.min.mjs";

const GREY = 128; // the value of pixels outside the photo

const logOdds = (probability) => Math.log(probability / (1 - probability));

/** Metadata is text; what is no text is JSON. */
function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export class Detector {
  /** Loads the files that `cascade export onnx detector` wrote from a folder. */
  static async load(folder) {
    ort.env.wasm.numThreads = 1; // more need headers of the server: see cross-origin isolation
    const manifest = await (await fetch(`${folder}/manifest.json`)).json();
    const found = new Detector();
    found.settings = manifest.detector;
    found.networks = {};
    found.facts = {};
    for (const stage of ["pnet", "rnet", "onet", "lnet"]) {
      const file = manifest.files[`${stage}.onnx`];
      if (!file) continue; // not every set of weights has an L-Net
      found.facts[stage] = Object.fromEntries(Object.entries(file.metadata).map(([key, text]) => [key, value(text)]));
      found.networks[stage] = await ort.InferenceSession.create(`${folder}/${stage}.onnx`);
    }
    return found;
  }

  /** The faces of a photo, best first: [{box, score, landmarks}], in its pixels. */
  async detect(photo) {
    const image = withoutAlpha(photo);
    const images = [image, ...this.pyramid(image)];
    let faces = await this.proposals(image, images.slice(1));
    const { nms, thresholds } = this.settings;
    faces = kept(await this.look("rnet", images, faces), logOdds(thresholds[1]), nms.rnet);
    faces = await this.faces(images, faces);
    const found = [];
    for (const { box, logit, landmarks } of faces) {
      const points = this.networks.lnet ? await this.refined(images, landmarks) : landmarks;
      const clipped = box.map((edge, k) => Math.min(Math.max(edge, 0), k % 2 ? image.height : image.width));
      found.push({ box: clipped, score: 1 / (1 + Math.exp(-logit)), landmarks: points });
    }
    return found;
  }

  /** A network's outputs by name for images of one size; P-Net takes any size. */
  async run(stage, crops) {
    const { width, height } = crops[0];
    const area = width * height;
    const pixels = new Float32Array(crops.length * 3 * area);
    crops.forEach(({ data }, n) => {
      for (let i = 0; i < area; i++) {
        for (let c = 0; c < 3; c++) pixels[(n * 3 + c) * area + i] = data[3 * i + c];
      }
    });
    return this.networks[stage].run({ pixels: new ort.Tensor("float32", pixels, [crops.length, 3, height, width]) });
  }

  /** The levels. On the first, the smallest face fills P-Net's window; each is resampled from the one before. */
  pyramid(image) {
    const { min_face, scale_factor, smallest_share, close_up_share } = this.settings;
    const window = this.facts.pnet.window;
    const levels = [];
    let level = image;
    for (let scale = window / min_face; Math.min(image.width, image.height) * scale >= window * smallest_share; ) {
      const size = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
      level = resampled(level, [0, 0, level.width, level.height], ...size);
      levels.push(level);
      // twice as many levels for faces that fill the photo
      const closeUp = window / scale >= close_up_share * Math.min(image.width, image.height);
      scale *= closeUp ? Math.sqrt(scale_factor) : scale_factor;
    }
    return levels;
  }

  /** P-Net: the windows that may hold a face. */
  async proposals(image, levels) {
    const { padding, stride, window, input_size } = this.facts.pnet;
    const { thresholds, framing } = this.settings;
    const lowest = logOdds(thresholds[0]) - Math.max(framing.pnet.at_border, framing.pnet.close_up);
    const margin = (input_size - window) / 2 - padding;
    const found = [];
    for (const level of levels) {
      if (Math.min(level.width, level.height) + 2 * padding < input_size) continue;
      const { face, box } = await this.run("pnet", [padded(level, padding, stride, input_size)]);
      const [, , rows, columns] = face.dims;
      const scale = [image.width / level.width, image.height / level.height];
      for (let i = 0; i < rows * columns; i++) {
        const logit = face.data[rows * columns + i] - face.data[i];
        if (!(logit >= lowest)) continue;
        const corner = [i % columns, Math.floor(i / columns)].map((at) => margin + stride * at);
        const square = [...corner, ...corner.map((at) => at + window)].map((at, k) => at * scale[k % 2]);
        const deltas = [0, 1, 2, 3].map((k) => box.data[k * rows * columns + i]);
        found.push({ box: moved(square, deltas), logit: logit + this.framing("pnet", image, square) });
      }
    }
    return kept(found, logOdds(this.settings.thresholds[0]), this.settings.nms.pnet);
  }

  /** What is added for windows at the border and for close-ups: networks score the faces in them low. */
  framing(stage, { width, height }, [x1, y1, x2, y2]) {
    const { gap, at_border, close_up } = this.settings.framing[stage];
    if (x2 - x1 >= this.settings.close_up_share * Math.min(width, height)) return close_up;
    return Math.min(x1, y1, width - x2, height - y2) < gap * (x2 - x1) ? at_border : 0;
  }

  /** R-Net or O-Net around boxes: moved boxes, log-odds fused with those of the stages before, and landmarks. */
  async look(stage, images, before) {
    const { context, input_size } = this.facts[stage];
    const { score_fusion_weight: weight } = this.settings;
    const found = [];
    for (let first = 0; first < before.length; first += 64) {
      const some = before.slice(first, first + 64);
      const windows = some.map(({ box }) => squared(box));
      const { face, box, landmarks } = await this.run(stage, windows.map((one) => crop(images, one, context, input_size)));
      windows.forEach((window, i) => {
        const own = face.data[2 * i + 1] - face.data[2 * i];
        const logit = (own + weight * some[i].logit) / (1 + weight) + this.framing(stage, images[0], window);
        const deltas = box.data.slice(4 * i, 4 * i + 4);
        const points = landmarks && [0, 1, 2, 3, 4].map((k) => [0, 1].map((axis) =>
          window[axis] + landmarks.data[10 * i + 2 * k + axis] * (window[axis + 2] - window[axis])));
        found.push({ box: moved(window, deltas), logit, landmarks: points, before: some[i].logit });
      });
    }
    return found;
  }

  /** O-Net, which looks again at the boxes that it has moved. */
  async faces(images, before) {
    const { second_look: second, nms, thresholds } = this.settings;
    const least = logOdds(thresholds[2]);
    const first = await this.look("onet", images, before);
    const again = kept(first, least - second.margin, [[second.nms, "union"]]);
    const unsure = again.filter(({ logit }) => logit < second.sure);
    const more = await this.look("onet", images, unsure.map(({ box, before }) => ({ box, logit: before })));
    const all = [...first, ...more];
    const found = this.voted(all, kept(all, least - second.margin, nms.onet));
    return found.filter(({ logit }) => logit >= least).sort((a, b) => b.logit - a.logit);
  }

  /** Boxes, each as the mean of those that overlap it, by overlap and probability. The more agree, the surer it is. */
  voted(faces, best) {
    const { weight, usual_votes: usual } = this.settings.agreement;
    const sums = best.map(() => [0, 0, 0, 0, 0]);
    for (const { box, logit } of faces) {
      const overlaps = best.map((face) => overlap(face.box, box, "union"));
      const most = Math.max(...overlaps);
      if (!(most >= this.settings.voting.onet)) continue;
      const vote = most / (1 + Math.exp(-logit));
      // a box votes for the face that it overlaps most
      [...box, 1].forEach((value, k) => { sums[overlaps.indexOf(most)][k] += vote * value; });
    }
    return best.map((face, i) => {
      const [votes] = sums[i].slice(4);
      const agreed = Math.max(votes * (1 + Math.exp(-face.logit)), 1) / usual;
      const box = sums[i].slice(0, 4).map((sum) => sum / votes);
      return { ...face, box, logit: face.logit + weight * Math.log(agreed) };
    });
  }

  /** L-Net: the landmarks again, from a crop in which these have the places of a template. */
  async refined(images, points) {
    const { input_size: size, window, template } = this.facts.lnet;
    const [a, b, x, y] = similarity(points.map((point) => point.map((at) => Math.round(at * 16) / 16)), template);
    const determinant = a * a + b * b;
    const back = (u, v) => [(a * (u - x) + b * (v - y)) / determinant, (a * (v - y) - b * (u - x)) / determinant];
    const { landmarks } = await this.run("lnet", [warped(images, back, Math.sqrt(determinant), size)]);
    const margin = (size - window) / 2;
    return points.map((_, k) => back(...[0, 1].map((axis) => landmarks.data[2 * k + axis] * window + margin)));
  }
}

/** The faces that reach a threshold, in log-odds, and are suppressed by no better one, best first. */
function kept(faces, least, overlaps) {
  let left = faces.filter(({ box, logit }) => logit >= least && box[2] - box[0] >= 1 && box[3] - box[1] >= 1);
  left.sort((a, b) => b.logit - a.logit);
  for (const [limit, mode] of overlaps) {
    const best = [];
    for (const face of left) if (!best.some((better) => overlap(better.box, face.box, mode) > limit)) best.push(face);
    left = best;
  }
  return left;
}

function withoutAlpha({ data, width, height }) {
  const found = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) found[3 * i + c] = data[4 * i + c];
  return { data: found, width, height };
}

/** With grey around it, and so much more to the right and below that the last windows reach the border. */
function padded({ data, width, height }, padding, stride, input) {
  const [wide, high] = [width, height].map((side) => input + stride * Math.ceil((side + 2 * padding - input) / stride));
  const found = new Uint8Array(3 * wide * high).fill(GREY);
  for (let y = 0; y < height; y++) {
    found.set(data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((y + padding) * wide + padding));
  }
  return { data: found, width: wide, height: high };
}

const moved = (box, deltas) => box.map((edge, k) => edge + deltas[k] * (box[(k % 2) + 2] - box[k % 2]));

function squared([x1, y1, x2, y2]) {
  const half = Math.max(x2 - x1, y2 - y1) / 2;
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return [x - half, y - half, x + half, y + half];
}

const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

function overlap(a, b, mode) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  return shared / (mode === "min" ? Math.min(area(a), area(b)) : area(a) + area(b) - shared);
}

/** The smallest image, no larger than the photo, of whose scales `fits` says yes; the photo if there is none. */
function chosen(images, fits) {
  const [{ width, height }] = images;
  const smaller = images.slice(1).filter((one) => one.width < width && one.height < height);
  const fitting = smaller.filter((one) => fits(one.width / width, one.height / height));
  return fitting.length ? fitting[fitting.length - 1] : images[0];
}

/** A crop around a window, from the smallest level in which it still has as many pixels as the network takes. */
function crop(images, [x1, y1, x2, y2], context, size) {
  const [x, y, half] = [(x1 + x2) / 2, (y1 + y2) / 2, ((x2 - x1) / 2) * context];
  const box = [x - half, y - half, x + half, y + half].map((edge) => Math.round(edge * 16) / 16);
  const source = chosen(images, (across, down) =>
    Math.min((box[2] - box[0]) * across, (box[3] - box[1]) * down) >= size);
  const scale = [source.width / images[0].width, source.height / images[0].height];
  return resampled(source, box.map((edge, k) => edge * scale[k % 2]), size, size);
}

/** Triangle filters of the output pixels along an axis: the first source pixel and the weights; none if outside. */
function filters(start, extent, source, size) {
  const scale = extent / size;
  const fixed = (place) => Math.floor(place * 65536 + 0.5) / 65536;
  const support = fixed(Math.max(scale, 1));
  return Array.from({ length: size }, (_, i) => {
    const place = start + (i + 0.5) * scale;
    if (!(place >= 0 && place < source)) return null;
    const centre = fixed(place);
    const first = Math.max(0, Math.floor(centre - support - 0.5) + 1);
    const last = Math.min(source - 1, Math.ceil(centre + support - 0.5) - 1);
    const weights = Array.from({ length: last - first + 1 }, (_, k) => support - Math.abs(first + k + 0.5 - centre));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    // rounded to 1/128: the sums of the weights up to each pixel are
    let [sum, before] = [0, 0];
    const rounded = weights.map((weight) => {
      sum += weight;
      const share = Math.floor((128 * sum) / total + 0.5) / 128;
      const own = share - before;
      before = share;
      return own;
    });
    return { first, weights: rounded };
  });
}

/** A rectangle x1, y1, x2, y2 of an image, resampled: rows first, then columns, each rounded. */
function resampled(image, [x1, y1, x2, y2], width, height) {
  const columns = filters(x1, x2 - x1, image.width, width);
  const rows = filters(y1, y2 - y1, image.height, height);
  const found = new Uint8Array(3 * width * height).fill(GREY);
  const used = columns.filter(Boolean);
  const from = Math.min(...used.map(({ first }) => first));
  const to = Math.max(...used.map(({ first, weights }) => first + weights.length));
  const blended = new Float32Array(used.length ? 3 * (to - from) : 0);
  for (let y = 0; y < height; y++) {
    if (!rows[y] || !used.length) continue;
    blended.fill(0.5);
    rows[y].weights.forEach((weight, k) => {
      const line = 3 * ((rows[y].first + k) * image.width + from);
      for (let i = 0; i < blended.length; i++) blended[i] += weight * image.data[line + i];
    });
    for (let i = 0; i < blended.length; i++) blended[i] = Math.floor(blended[i]);
    for (let x = 0; x < width; x++) {
      if (!columns[x]) continue;
      const { first, weights } = columns[x];
      for (let c = 0; c < 3; c++) {
        let sum = 0.5;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * blended[3 * (first - from + k) + c];
        found[3 * (y * width + x) + c] = Math.floor(sum);
      }
    }
  }
  return { data: found, width, height };
}

/** Rotation, scale and shift (u, v) = (a x − b y + s, b x + a y + t) that bring points nearest to a template. */
function similarity(points, template) {
  const mean = (some) => [0, 1].map((axis) => some.reduce((sum, point) => sum + point[axis], 0) / some.length);
  const [centre, target] = [mean(points), mean(template)];
  let [a, b, total] = [0, 0, 0];
  points.forEach(([px, py], k) => {
    const [x, y] = [px - centre[0], py - centre[1]];
    const [u, v] = [template[k][0] - target[0], template[k][1] - target[1]];
    a += x * u + y * v;
    b += x * v - y * u;
    total += x * x + y * y;
  });
  [a, b] = [a / total, b / total];
  return [a, b, target[0] - a * centre[0] + b * centre[1], target[1] - b * centre[0] - a * centre[1]];
}

/** An aligned crop: each pixel from its four neighbours in the smallest level with a pixel for each of the crop's. */
function warped(images, back, zoom, size) {
  const source = chosen(images, (across, down) => Math.min(across, down) >= zoom);
  const scale = [source.width / images[0].width, source.height / images[0].height];
  const sides = [source.width, source.height];
  const found = new Uint8Array(3 * size * size).fill(GREY);
  for (let i = 0; i < size * size; i++) {
    const place = back((i % size) + 0.5, Math.floor(i / size) + 0.5).map((at, axis) => at * scale[axis]);
    if (place.some((at, axis) => !(at >= 0 && at < sides[axis]))) continue;
    const low = place.map((at) => Math.floor(at - 0.5));
    const [right, below] = place.map((at, axis) => at - 0.5 - low[axis]);
    const near = low.map((at) => Math.max(at, 0));
    const far = low.map((at, axis) => Math.min(at + 1, sides[axis] - 1));
    for (let c = 0; c < 3; c++) {
      const at = (x, y) => source.data[3 * (y * source.width + x) + c];
      const above = at(near[0], near[1]) * (1 - right) + at(far[0], near[1]) * right;
      const under = at(near[0], far[1]) * (1 - right) + at(far[0], far[1]) * right;
      found[3 * i + c] = Math.floor(above * (1 - below) + under * below + 0.5);
    }
  }
  return { data: found, width: size, height: size };
}
