"""The detector with numpy, Pillow and ONNX Runtime alone, to be read beside a port to another language.

    python detect_onnx.py MODELS PHOTO

MODELS is a folder that `cascade export onnx detector` wrote. Prints a line of JSON for each face. It finds the faces
that cascade finds with exposure="none", up to rounding; cascade is many times as fast.

Coordinates: x right, y down, in pixels of the photo, which spans [0, width] × [0, height]; a pixel's centre is at 0.5.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

GREY = 128  # the value of pixels outside the photo


class Detector:
    """Finds faces: P-Net on every level of an image pyramid, R-Net and O-Net on crops, L-Net on aligned crops."""

    def __init__(self, folder):
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        self.settings = manifest["detector"]
        self.networks, self.facts = {}, {}
        for stage in ("pnet", "rnet", "onet", "lnet"):
            if f"{stage}.onnx" in manifest["files"]:  # not every set of weights has an L-Net
                metadata = manifest["files"][f"{stage}.onnx"]["metadata"]
                self.facts[stage] = {key: as_number(value) for key, value in metadata.items()}
                self.networks[stage] = onnxruntime.InferenceSession(
                    Path(folder) / f"{stage}.onnx", providers=["CPUExecutionProvider"]
                )

    def run(self, stage, pixels):
        """Outputs by name for images (n, height, width, 3)."""
        network = self.networks[stage]
        values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        names = [output.name for output in network.get_outputs()]
        return dict(zip(names, network.run(names, {"pixels": values}), strict=True))

    def detect(self, photo):
        """Boxes (n, 4), scores (n,) and landmarks (n, 5, 2) of the faces in a photo (height, width, 3) uint8 RGB."""
        levels = self.pyramid(photo)
        boxes, logits = self.proposals(photo, levels)
        boxes, logits, _ = self.look("rnet", [photo, *levels], boxes, logits)
        kept = self.kept(boxes, logits, log_odds(self.settings["thresholds"][1]), self.settings["nms"]["rnet"])
        boxes, logits, landmarks = self.faces([photo, *levels], boxes[kept], logits[kept])
        if "lnet" in self.networks:
            landmarks = self.refined(photo, levels, landmarks)
        height, width = photo.shape[:2]
        return np.clip(boxes, 0, [width, height] * 2), 1 / (1 + np.exp(-logits)), landmarks

    def pyramid(self, photo):
        """The levels. On the first, the smallest face fills P-Net's window; each is resampled from the one before."""
        height, width = photo.shape[:2]
        window = self.facts["pnet"]["window"]
        scale, levels, level = window / self.settings["min_face"], [], photo
        while min(width, height) * scale >= window * self.settings["smallest_share"]:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            level = resampled(level, (0, 0, level.shape[1], level.shape[0]), *size)
            levels.append(level)
            # twice as many levels for faces that fill the photo
            close_up = window / scale >= self.settings["close_up_share"] * min(width, height)
            scale *= self.settings["scale_factor"] ** (0.5 if close_up else 1)
        return levels

    def proposals(self, photo, levels):
        """P-Net: boxes and log-odds of the windows that may hold a face."""
        facts, framing = self.facts["pnet"], self.settings["framing"]["pnet"]
        lowest = log_odds(self.settings["thresholds"][0]) - max(framing["at_border"], framing["close_up"])
        padding, stride, side = facts["padding"], facts["stride"], facts["window"]
        margin = (facts["input_size"] - side) / 2 - padding
        height, width = photo.shape[:2]
        boxes, logits = [np.empty((0, 4))], [np.empty(0)]
        for level in levels:
            room = np.array(level.shape[:2]) + 2 * padding - facts["input_size"]
            if min(room) < 0:
                continue
            # so much more to the right and below that the last windows reach the border
            (down, right) = padding + -room % stride
            padded = np.pad(level, ((padding, down), (padding, right), (0, 0)), constant_values=GREY)
            outputs = self.run("pnet", padded[None])
            logit = outputs["face"][0, 1] - outputs["face"][0, 0]
            row, column = np.nonzero(logit >= lowest)
            corners = margin + stride * np.stack([column, row], axis=1)
            windows = np.hstack([corners, corners + side]) * np.tile([width, height], 2)
            windows /= np.tile([level.shape[1], level.shape[0]], 2)
            logits.append(logit[row, column] + self.framing("pnet", photo, windows))
            boxes.append(windows + outputs["box"][0][:, row, column].T * np.tile(windows[:, 2:] - windows[:, :2], 2))
        boxes, logits = np.concatenate(boxes), np.concatenate(logits)
        kept = self.kept(boxes, logits, log_odds(self.settings["thresholds"][0]), self.settings["nms"]["pnet"])
        return boxes[kept], logits[kept]

    def look(self, stage, images, boxes, before):
        """R-Net or O-Net around boxes: boxes, log-odds fused with those of the stages before, and O-Net's landmarks."""
        windows = squares(boxes)
        sides = windows[:, 2:] - windows[:, :2]
        outputs = self.classify(stage, images, windows)
        weight = self.settings["score_fusion_weight"]
        logits = (outputs["face"][:, 1] - outputs["face"][:, 0] + weight * before) / (1 + weight)
        shares = outputs.get("landmarks", np.zeros((len(windows), 10))).reshape(-1, 5, 2)
        landmarks = windows[:, None, :2] + shares * sides[:, None]
        return windows + outputs["box"] * np.tile(sides, 2), logits + self.framing(stage, images[0], windows), landmarks

    def faces(self, images, boxes, before):
        """O-Net, which looks again at the boxes that it has moved: boxes, log-odds and landmarks, best first."""
        settings, least = self.settings, log_odds(self.settings["thresholds"][2])
        second_look, agreement = settings["second_look"], settings["agreement"]
        nearly = least - second_look["margin"]
        first = self.look("onet", images, boxes, before)
        again = self.kept(*first[:2], nearly, [[second_look["nms"], "union"]])
        again = again[first[1][again] < second_look["sure"]]
        second = self.look("onet", images, first[0][again], before[again])
        boxes, logits, landmarks = (np.concatenate(both) for both in zip(first, second, strict=True))
        kept = self.kept(boxes, logits, nearly, settings["nms"]["onet"])
        boxes, votes = self.voted(boxes, logits, kept)
        # the more boxes agree, the surer the face
        shares = np.maximum(votes * (1 + np.exp(-logits[kept])), 1) / agreement["usual_votes"]
        logits = logits[kept] + agreement["weight"] * np.log(shares)
        order = np.argsort(-logits, kind="stable")
        order = order[logits[order] >= least]
        return boxes[order], logits[order], landmarks[kept][order]

    def framing(self, stage, photo, windows):
        """What is added for windows at the border and for close-ups: networks score the faces in them low."""
        framing, (height, width) = self.settings["framing"][stage], photo.shape[:2]
        sides = windows[:, 2] - windows[:, 0]
        gaps = np.minimum(windows[:, :2], [width, height] - windows[:, 2:]).min(axis=1)
        at_border = np.where(gaps < framing["gap"] * sides, framing["at_border"], 0.0)
        close_up = sides >= self.settings["close_up_share"] * min(width, height)
        return np.where(close_up, framing["close_up"], at_border)

    def kept(self, boxes, logits, least, overlaps):
        """Which boxes reach a threshold, in log-odds, and are suppressed by no better one, best first."""
        kept = np.flatnonzero(logits >= least)
        kept = kept[(boxes[kept, 2:] - boxes[kept, :2] >= 1).all(axis=1)]
        kept = kept[np.argsort(-logits[kept], kind="stable")]
        for threshold, mode in overlaps:
            kept = kept[suppressed(boxes[kept], threshold, mode)]
        return kept

    def voted(self, boxes, logits, kept):
        """Boxes that are kept, each as the mean of those that overlap it, by overlap and probability; these weights."""
        if not len(kept):
            return boxes[kept], np.empty(0)
        voting = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        overlaps = np.stack([overlap(box, boxes[voting]) for box in boxes[kept]])
        # a box votes for the face that it overlaps most
        votes = (overlaps >= self.settings["voting"]["onet"]) & (overlaps >= overlaps.max(axis=0))
        weights = votes * overlaps / (1 + np.exp(-logits[voting]))
        votes = weights.sum(axis=1)
        return weights @ boxes[voting] / votes[:, None], votes

    def classify(self, stage, images, windows):
        """A network's outputs on crops of square windows, with as much around them as the network sees."""
        size, context = self.facts[stage]["input_size"], self.facts[stage]["context"]
        height, width = images[0].shape[:2]
        crops = np.empty((len(windows), size, size, 3), np.uint8)
        for crop, (x1, y1, x2, y2) in zip(crops, windows, strict=True):
            half_x, half_y = (x2 - x1) / 2 * context, (y2 - y1) / 2 * context
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            box = np.rint(np.array([x - half_x, y - half_y, x + half_x, y + half_y]) * 16) / 16
            # the smallest level in which the crop still has as many pixels as the network takes
            source = images[0]
            for image in images[1:]:
                scales = image.shape[1] / width, image.shape[0] / height
                if max(scales) < 1 and min((box[2:] - box[:2]) * scales) >= size:
                    source = image
            scale = np.tile([source.shape[1] / width, source.shape[0] / height], 2)
            crop[:] = resampled(source, box * scale, size, size)
        return self.run(stage, crops)

    def refined(self, photo, levels, landmarks):
        """L-Net: the landmarks again, from crops in which these have the places of a template."""
        size, window = self.facts["lnet"]["input_size"], self.facts["lnet"]["window"]
        template = np.array(self.facts["lnet"]["template"])
        found = landmarks.copy()
        for index, points in enumerate(landmarks):
            linear, shift = similarity(np.rint(points * 16) / 16, template)
            crop = warped([photo, *levels], linear, shift, size)
            output = self.run("lnet", crop[None])["landmarks"][0].reshape(5, 2)
            found[index] = (output * window + (size - window) / 2 - shift) @ np.linalg.inv(linear).T
        return found


def as_number(text):
    """Metadata is text; what is no text is JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def log_odds(probability):
    return np.log(probability / (1 - probability))


def squares(boxes):
    """Boxes grown to squares of the longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([centres - half, centres + half])


def suppressed(boxes, threshold, mode):
    """The indices that greedy non-maximum suppression keeps of boxes that are sorted, best first."""
    left, kept = np.arange(len(boxes)), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlap(boxes[best], boxes[left], mode) <= threshold]
    return np.array(kept, np.intp)


def overlap(box, boxes, mode="union"):
    """The intersection of a box with each of some (n, 4), over their union or over the smaller of the two."""
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return shared / (np.minimum(area, areas) if mode == "min" else area + areas - shared)


def filters(start, extent, source, size):
    """Weights (size, pixels) of each output pixel, the first source pixel, and which outputs are inside.

    A triangle, as wide as an output pixel where that is more than a source pixel. Weights sum to 1 over the pixels that
    exist, and are rounded to 1/128: the sums of those up to each pixel are. Places are rounded to 1/65536 pixel.
    """
    scale = extent / size
    support = np.floor(max(scale, 1) * 65536 + 0.5) / 65536
    places = start + (np.arange(size) + 0.5) * scale
    centres = np.floor(places * 65536 + 0.5) / 65536
    first, end = max(0, int(centres[0] - support) - 1), min(source, int(centres[-1] + support) + 2)
    pixels = np.arange(first, max(first, end)) + 0.5
    weights = np.clip(support - np.abs(pixels - centres[:, None]), 0, None)
    inside = (places >= 0) & (places < source)
    sums = weights.cumsum(axis=1)
    rounded = np.floor(128 * sums / np.maximum(sums[:, -1:], 1e-9) + 0.5) / 128
    return np.diff(rounded, prepend=0), first, inside


def resampled(image, box, width, height):
    """A rectangle x1, y1, x2, y2 of an image as (height, width, 3) uint8: rows first, then columns, each rounded."""
    rows, top, rows_inside = filters(box[1], box[3] - box[1], image.shape[0], height)
    columns, left, columns_inside = filters(box[0], box[2] - box[0], image.shape[1], width)
    part = image[top : top + rows.shape[1], left : left + columns.shape[1]].astype(np.float32)
    blended = np.floor(np.tensordot(rows.astype(np.float32), part, 1) + 0.5)
    found = np.floor(np.einsum("cx,yxk->yck", columns.astype(np.float32), blended, optimize=True) + 0.5)
    found[~(rows_inside[:, None] & columns_inside)] = GREY
    return found.astype(np.uint8)


def similarity(points, template):
    """Rotation and scale (2, 2) and shift (2,) that bring points (5, 2) nearest to a template."""
    centre, target = points.mean(axis=0), template.mean(axis=0)
    x, y = (points - centre).T
    u, v = (template - target).T
    a, b = (x @ u + y @ v, x @ v - y @ u) / (x @ x + y @ y)
    linear = np.array([[a, -b], [b, a]])
    return linear, target - linear @ centre


def warped(images, linear, shift, size):
    """An aligned crop: each of its pixels from four neighbours in the smallest level with a pixel for each of its."""
    height, width = images[0].shape[:2]
    source = images[0]
    for image in images[1:]:
        scales = image.shape[1] / width, image.shape[0] / height
        if max(scales) < 1 and min(scales) >= np.sqrt(np.linalg.det(linear)):
            source = image
    rows, columns = np.mgrid[:size, :size] + 0.5
    places = (np.stack([columns, rows], axis=-1) - shift) @ np.linalg.inv(linear).T
    places *= source.shape[1] / width, source.shape[0] / height
    sides = np.array(source.shape[1::-1])
    inside = ((places >= 0) & (places < sides)).all(axis=-1)
    low = np.floor(places - 0.5)
    share = (places - 0.5 - low)[..., None, :]
    x1, y1 = np.clip(low, 0, sides - 1).astype(int).transpose(2, 0, 1)
    x2, y2 = np.clip(low + 1, 0, sides - 1).astype(int).transpose(2, 0, 1)
    above = source[y1, x1] * (1 - share[..., 0]) + source[y1, x2] * share[..., 0]
    below = source[y2, x1] * (1 - share[..., 0]) + source[y2, x2] * share[..., 0]
    found = np.floor(above * (1 - share[..., 1]) + below * share[..., 1] + 0.5)
    found[~inside] = GREY
    return found.astype(np.uint8)


def main():
    folder, name = sys.argv[1:]
    photo = np.asarray(ImageOps.exif_transpose(Image.open(name)).convert("RGB"))
    for box, score, landmarks in zip(*Detector(folder).detect(photo), strict=True):
        face = {"box": box, "score": score, "landmarks": landmarks}
        print(json.dumps({key: np.round(value, 3).tolist() for key, value in face.items()}))


if __name__ == "__main__":
    main()
