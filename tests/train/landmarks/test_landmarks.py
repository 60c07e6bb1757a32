"""Geometry of 68 landmarks: the mean face, head pose, augmentation; and a short run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from cascade.datasets import PointsPhoto
from cascade.imaging.alignment import TEMPLATE_SIZE
from cascade.landmarks import MIRRORED, TEMPLATE, LandmarkEstimator, five_points, head_pose
from cascade.models.attributes import FOLDER as ATTRIBUTES
from cascade.models.landmarks import DEFAULT, FOLDER, load_landmarks
from cascade.nn.torch_graph import from_tensors
from train.__main__ import main
from train.common.checkpoints import TrainingError, checkpoint_file, read_checkpoint
from train.detection.augment import normalise
from train.landmarks.augment import augment, moved_crops
from train.landmarks.pack import MARGIN, STORED, PointCrops, pack_points
from train.landmarks.shapes import mean_face
from train.landmarks.trainer import LandmarkRun, LandmarkSettings, normalised_errors, wing_loss
from train.landmarks.warm_start import start_from

NO = torch.zeros(1)


def face() -> np.ndarray:
    """A symmetric face (68, 3) of random points: x to the right, y down, the nose nearest."""
    points = np.random.default_rng(3).normal(0, 0.3, (68, 3))
    points = (points + points[MIRRORED] * (-1, 1, 1)) / 2
    for n, at in {36: (-0.5, -0.4, 0.1), 45: (0.5, -0.4, 0.1), 30: (0, 0, -0.6)}.items():
        points[n] = at
    points[36:42] = points[36] + (points[36:42] - points[36:42].mean(axis=0)) * 0.2
    points[42:48] = points[MIRRORED[42:48]] * (-1, 1, 1)
    points[48], points[54] = (-0.3, 0.4, 0), (0.3, 0.4, 0)
    return points - points.mean(axis=0)


def seen(points: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The face (68, 2) rotated by degrees: right in the image, up, clockwise."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (points @ (about_y @ about_x @ about_z).T)[:, :2]


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, 40), (-25, 10, -15)])
def test_head_pose_is_found_again(angles):
    points = 50 * seen(face(), *angles) + np.array([300, 200])
    np.testing.assert_allclose(head_pose(points[None], face())[0], angles, atol=0.1)


def test_signs_of_the_head_pose():
    """The nose moves to the right in the image with positive yaw, up with pitch; the right eye sinks with roll."""
    middle = face()[36:48].mean(axis=0)
    nose = face()[30] - middle
    assert seen(nose[None], 20, 0, 0)[0, 0] > 0.1
    assert seen(nose[None], 0, 20, 0)[0, 1] < seen(nose[None], 0, 0, 0)[0, 1] - 0.1
    assert seen(face(), 0, 0, 20)[45, 1] > seen(face(), 0, 0, 20)[36, 1]


def test_the_mean_face_comes_from_motion():
    rng = np.random.default_rng(0)
    points = np.stack([30 * seen(face(), *rng.normal(0, (20, 12, 8))) for _ in range(200)])
    found = mean_face(points)
    truth = face() / np.linalg.norm(face()[45] - face()[36])
    # its own upright is a convention: the same up to a rotation about the axis of the eyes
    pose = head_pose(seen(truth, 0, 0, 0)[None], found)[0]
    assert abs(pose[0]) < 0.5 and abs(pose[2]) < 0.5
    rotated = seen(truth, 0, 0, 0) - seen(found, *pose)
    assert np.abs(rotated - rotated.mean(axis=0)).max() < 0.02
    with pytest.raises(ValueError, match="no depth"):
        mean_face(np.repeat(points[:1], 20, axis=0))


def test_mirrored_numbers_are_their_own_inverse():
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(68))


def crop_with_points() -> tuple[torch.Tensor, torch.Tensor]:
    """A stored crop with a bright dot at each of a few points."""
    rng = np.random.default_rng(1)
    points = rng.uniform(MARGIN + 25, STORED - MARGIN - 25, (68, 2)).astype(np.float32)
    image = np.zeros((STORED, STORED, 3), np.uint8)
    for x, y in points[:3]:
        cv2.circle(image, (round(float(x) - 0.5), round(float(y) - 0.5)), 2, (255, 255, 255), -1)
    return torch.from_numpy(image).permute(2, 0, 1)[None].float(), torch.from_numpy(points)[None]


@pytest.mark.parametrize(
    ("angle", "scale", "shift", "mirrored"),
    [(0, 1, (0, 0), False), (0.3, 1, (0, 0), False), (0, 1.15, (0.05, -0.08), False), (-0.2, 0.9, (0.05, 0.02), True)],
)
def test_points_move_with_the_pixels(angle, scale, shift, mirrored):
    crops, points = crop_with_points()
    side = 112
    found, moved = moved_crops(
        crops,
        points,
        side,
        NO + angle,
        NO + scale,
        torch.tensor([shift], dtype=torch.float32),
        torch.tensor([mirrored]),
    )
    for n in range(3):
        x, y = (moved[0, MIRRORED[n] if mirrored else n] * side).tolist()
        assert found[0, 0, round(y - 0.5), round(x - 0.5)] > 200


def test_augmented_points_stay_with_their_crops():
    crops, points = crop_with_points()
    found, moved = augment(crops.repeat(4, 1, 1, 1), points.repeat(4, 1, 1), 96, torch.Generator().manual_seed(0))
    assert found.shape == (4, 3, 96, 96) and moved.shape == (4, 68, 2)
    again = augment(crops.repeat(4, 1, 1, 1), points.repeat(4, 1, 1), 96, torch.Generator().manual_seed(0))
    assert torch.equal(found, again[0]) and torch.equal(moved, again[1])


def test_errors_and_loss():
    truth = np.zeros((1, 68, 2))
    truth[0, 45] = (50, 0)
    assert normalised_errors(truth + np.array([3, 4]), truth)[0] == pytest.approx(10)
    zero = torch.zeros(1, 68, 2)
    assert wing_loss(zero, zero) == 0
    assert wing_loss(zero + 0.2, zero) > wing_loss(zero + 0.1, zero) > 0


def test_five_points_of_the_template_are_where_it_says():
    points = np.zeros((1, 68, 2), np.float32)
    for first, at in zip((36, 42), TEMPLATE[:2], strict=True):
        points[0, first : first + 6] = at
    points[0, [30, 48, 54]] = TEMPLATE[2:]
    np.testing.assert_allclose(five_points(points)[0], TEMPLATE, atol=1e-4)
    assert TEMPLATE.min() > 0 and TEMPLATE.max() < TEMPLATE_SIZE


@torch.no_grad()
def test_a_run_begins_from_a_weight_file(tmp_path):
    rng = np.random.default_rng(0)
    points = np.stack([60 * seen(face(), *rng.normal(0, (15, 10, 5))) + STORED / 2 for _ in range(20)])
    crops = rng.integers(0, 255, (20, STORED, STORED, 3)).astype(np.uint8)
    settings = LandmarkSettings(batch=16, start=str(FOLDER / f"{DEFAULT}.safetensors"))
    run = LandmarkRun(settings, PointCrops(crops, points.astype(np.float32)), tmp_path)
    inputs = run._batch(0).inputs
    run.batches.close()
    weights = load_landmarks()
    stored = from_tensors(weights.graph, {name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    (output,) = stored(inputs).values()
    expected = output.reshape(-1, 68, 2) + torch.from_numpy(weights.tensors["mean_shape"])
    assert np.abs(run.mean_shape - weights.tensors["mean_shape"]).max() > 0.01  # of these faces, not of the file's
    for network in (run.averaged, run.network.eval()):
        torch.testing.assert_close(run._predict(network, inputs), expected, atol=1e-3, rtol=1e-3)
    for file, message in (
        (tmp_path / "none.safetensors", "expected a safetensors file"),
        (ATTRIBUTES / "face.safetensors", "start: .*"),
    ):
        with pytest.raises(TrainingError, match=message):
            start_from(run.network, file, run.mean_shape, inputs)


def test_a_run_goes_on_with_the_same_faces_only(tmp_path):
    def photos(seed):
        rng = np.random.default_rng(seed)
        found = []
        for n in range(4):
            path = tmp_path / f"{seed}-{n}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (200, 200, 3)).astype(np.uint8))
            found.append(
                PointsPhoto(path, path.name, (40 * seen(face(), *rng.normal(0, 9, 3)) + 100).astype(np.float32))
            )
        return found

    def fresh(faces):
        return LandmarkRun(LandmarkSettings(), faces, tmp_path / "run")

    one, other = (pack_points(photos(seed), tmp_path / f"faces-{seed}") for seed in (1, 2))
    first = fresh(one)
    first.step = 3
    first.save()
    again = fresh(pack_points(photos(1), tmp_path / "faces-1"))
    again.resume()
    assert again.step == 3
    with pytest.raises(TrainingError, match="was made with other data"):
        fresh(other).resume()
    file = checkpoint_file(tmp_path / "run")
    state = read_checkpoint(file)
    del state["data"]  # as it was written before
    torch.save(state, file)
    old = fresh(other)
    old.resume()
    assert old.step == 3


@pytest.mark.slow
def test_a_short_run_makes_a_weight_file(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(12):
        points = 60 * seen(face(), *rng.normal(0, (15, 10, 5))) + np.array([160, 150])
        image = rng.integers(0, 255, (320, 320, 3)).astype(np.uint8)
        (tmp_path / "faces").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "faces" / f"{n}.png"), image)
        (tmp_path / "faces" / f"{n}.pts").write_text("\n".join(f"{x + 0.5} {y + 0.5}" for x, y in points))
    options = ["--sets", "faces", "--out", str(tmp_path / "run"), "--steps", "3", "--batch", "4"]
    assert main(["landmarks", "--root", str(tmp_path), *options]) == 0
    again = [*options[:2], "--out", str(tmp_path / "again"), "--steps", "1", "--batch", "4", "--initial"]
    assert main(["landmarks", "--root", str(tmp_path), *again, str(tmp_path / "run" / "checkpoint.pt")]) == 0
    other = [*again[:2], "--out", str(tmp_path / "other"), "--initial", str(tmp_path / "faces" / "0.png")]
    assert main(["landmarks", "--root", str(tmp_path), *other]) == 1
    weights = load_landmarks(tmp_path / "run" / "points68.safetensors")
    estimator = LandmarkEstimator(weights, threads=1)
    crops = rng.integers(0, 255, (3, 96, 96, 3)).astype(np.uint8)
    tensors = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    inputs = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    (output,) = from_tensors(weights.graph, tensors)(inputs).values()
    expected = (output.reshape(3, 68, 2).numpy() + weights.tensors["mean_shape"]) * 96
    np.testing.assert_allclose(estimator.predict_crops(crops), expected, atol=1e-2)
