"""What faces look like: answers, faces that are not estimated, settings, threads and pickling."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cascade.attributes import AttributeEstimator
from cascade.faces import Faces
from cascade.imaging.alignment import AlignError
from cascade.models.attributes import AttributeTask
from cascade.models.files import WeightsError
from tests.photos import FACE_LANDMARKS, portrait, portrait_faces
from tests.random_attributes import TASKS, save_random_attributes


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_attributes(tmp_path_factory.mktemp("attributes") / "small.safetensors")


@pytest.fixture(scope="module")
def estimator(weights: Path) -> AttributeEstimator:
    return AttributeEstimator(weights, threads=1)


def several() -> np.ndarray:
    """Points of a face, of one of six pixels, and of a profile: the nose is beside both eyes."""
    face = np.array(FACE_LANDMARKS)
    profile = face.copy()
    profile[2, 0] += 120
    return np.stack([face, (face - face[0]) / 16 + face[0], profile, face + 1])


def test_probabilities_sum_to_one_beside_their_classes(estimator: AttributeEstimator) -> None:
    found = estimator.predict(portrait(), portrait_faces())
    assert found.tasks == estimator.tasks == ("age", "gender", "expression", "smile")
    for task, classes in found.classes.items():
        assert found.probabilities[task].shape == (1, len(classes)) and found.probabilities[task].dtype == np.float32
        assert found.probabilities[task].sum() == pytest.approx(1, abs=1e-5)
    for task in ("gender", "expression", "smile"):
        assert found.labels(task) == [found.classes[task][int(found.probabilities[task][0].argmax())]]


def test_the_age_is_the_expected_number_and_groups_are_sums(estimator: AttributeEstimator) -> None:
    found = estimator.predict(portrait(), portrait_faces())
    shares = found.probabilities["age"][0].astype(np.float64)
    assert found.age[0] == pytest.approx(shares @ np.arange(101), abs=1e-3)
    names, groups = found.age_groups("six")
    assert names[0] == "0-15" and groups.shape == (1, 6)
    assert groups[0, 0] == pytest.approx(shares[:16].sum(), abs=1e-6)
    assert groups[0, 5] == pytest.approx(shares[61:].sum(), abs=1e-6)
    assert found.age_groups()[1].shape == (1, 12)


def test_ethnicity_is_computed_only_where_it_is_asked_for(weights: Path, estimator: AttributeEstimator) -> None:
    assert "ethnicity" not in estimator.predict(portrait(), portrait_faces()).classes
    asked = AttributeEstimator(weights, ["age", "ethnicity"], threads=1).predict(portrait(), portrait_faces())
    assert asked.tasks == ("age", "ethnicity") and asked.labels("ethnicity")[0] in TASKS[2].classes


def test_a_face_too_small_or_in_profile_is_not_estimated(estimator: AttributeEstimator) -> None:
    found = estimator.predict(portrait(), several())
    assert found.unknown == ("", "too small", "profile", "")
    assert found.known.tolist() == [True, False, False, True]
    assert np.isnan(found.age[1:3]).all() and np.isfinite(found.age[[0, 3]]).all()
    assert found.labels("gender")[1:3] == [None, None]
    assert np.isnan(found.age_groups("six")[1][1:3]).all()
    assert found.data()["unknown"].tolist() == ["", "too small", "profile", ""]
    assert found.data()["gender"].tolist()[1] == ""
    assert "not known (profile)" in repr(found)
    # others do not change what is said of the first
    assert found.age[0] == estimator.predict(portrait(), several()[:1]).age[0]


def test_limits_of_size_and_yaw_are_settable(weights: Path) -> None:
    lenient = AttributeEstimator(weights, threads=1, min_face=0, max_yaw=90)
    assert lenient.predict(portrait(), several()).known.all()
    strict = AttributeEstimator(weights, threads=1, min_face=200)
    assert strict.predict(portrait(), several()[:1]).unknown == ("too small",)


def test_faces_get_what_they_look_like_as_data(estimator: AttributeEstimator) -> None:
    faces = estimator.analyze(portrait(), portrait_faces())
    found = estimator.predict(portrait(), portrait_faces())
    assert faces.data["age"].tolist() == found.age.tolist()
    assert faces[0].data["gender"] == found.labels("gender")[0]
    assert faces.data["gender_probability"][0] == found.probabilities["gender"].max()
    with pytest.raises(TypeError, match="faces: expected Faces"):
        estimator.analyze(portrait(), several())  # type: ignore[arg-type]


def test_no_face_gives_no_rows(estimator: AttributeEstimator) -> None:
    for nothing in (Faces.empty(), np.empty((0, 5, 2)), []):
        found = estimator.predict(portrait(), nothing)
        assert len(found) == 0 and found.age.shape == (0,) and found.probabilities["gender"].shape == (0, 2)
        assert found.labels("smile") == [] and repr(found) == "<Attributes: none>"


def test_a_gray_photo_can_be_estimated(estimator: AttributeEstimator) -> None:
    gray = portrait().mean(axis=2).astype(np.uint8)
    assert estimator.predict(gray, portrait_faces()).known.all()


def test_several_images_are_estimated_as_each_is(estimator: AttributeEstimator) -> None:
    images = [portrait(), np.zeros((60, 60, 3), np.uint8), portrait()[:, ::-1]]
    for image, (faces, found) in zip(images, estimator.predict_batch(images), strict=True):
        assert len(faces) == len(found)
        assert found.age.tolist() == estimator.predict(image).age.tolist()
    for one in (portrait(), "photo.jpg", b"\xff\xd8"):
        with pytest.raises(TypeError, match="images: expected several images"):
            estimator.predict_batch(one)


def test_it_serves_many_threads_and_can_be_pickled_and_copied(weights: Path, estimator: AttributeEstimator) -> None:
    expected = estimator.predict(portrait(), several()).age.tolist()
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: estimator.predict(portrait(), several()).age.tolist(), range(8))
    assert all(np.array_equal(each, expected, equal_nan=True) for each in found)
    chosen = AttributeEstimator(weights, ["smile"], threads=1, min_face=30, max_yaw=50)
    for twin in (pickle.loads(pickle.dumps(chosen)), copy.deepcopy(chosen)):
        assert (twin.tasks, twin.min_face, twin.max_yaw) == (("smile",), 30, 50)
        assert twin.predict(portrait(), several()).unknown == chosen.predict(portrait(), several()).unknown
    attributes = estimator.predict(portrait(), several())
    assert np.array_equal(pickle.loads(pickle.dumps(attributes)).age, attributes.age, equal_nan=True)


def test_results_and_settings_cannot_be_changed(estimator: AttributeEstimator) -> None:
    found = estimator.predict(portrait(), portrait_faces())
    with pytest.raises(ValueError, match="read-only"):
        found.age[0] = 1
    with pytest.raises(TypeError):
        found.values["age"] = found.age  # type: ignore[index]
    with pytest.raises(AttributeError, match="settings of a AttributeEstimator are fixed"):
        estimator.min_face = 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["mood"]}, "tasks: expected some of age, gender, ethnicity, expression, smile, got 'mood'"),
        ({"tasks": []}, "tasks: expected different ones"),
        ({"tasks": ["age", "age"]}, "tasks: expected different ones"),
        ({"tasks": 3}, "tasks: expected names of age"),
        ({"min_face": -1}, "min_face: expected 0 to 1000"),
        ({"max_yaw": 91}, "max_yaw: expected 0 to 90"),
        ({"max_yaw": float("nan")}, "max_yaw: expected 0 to 90"),
        ({"threads": 0}, "threads: expected 1 to 256"),
        ({"detector": "yes"}, "detector: expected a Detector, got str"),
    ],
)
def test_wrong_settings_are_named(weights: Path, settings: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        AttributeEstimator(weights, **settings)


def test_points_of_no_face_are_named(estimator: AttributeEstimator) -> None:
    bad = several()
    bad[3] = 7.0
    with pytest.raises(AlignError, match=r"landmarks\[3\]: points: expected points apart"):
        estimator.predict(portrait(), bad)
    bad[3] = np.nan
    with pytest.raises(AlignError, match=r"landmarks\[3\]"):
        estimator.predict(portrait(), bad)
    with pytest.raises(AlignError, match=r"expected shape \(N, 5, 2\), got \(5, 2\)"):
        estimator.predict(portrait(), several()[0])


@pytest.mark.parametrize(
    "crops",
    [np.zeros((112, 112, 3), np.uint8), np.zeros((1, 112, 112, 3), np.float32), np.zeros((1, 64, 64, 3), np.uint8)],
)
def test_crops_of_other_shapes_are_refused(estimator: AttributeEstimator, crops: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crops: expected uint8"):
        estimator.predict_crops(crops)


def test_tasks_of_ones_own_need_no_code(tmp_path: Path) -> None:
    tasks = (AttributeTask("helmet", "classification", ("no", "yes")), AttributeTask("mask", "regression", (), 0, 10))
    file = save_random_attributes(tmp_path / "mine.safetensors", tasks=tasks)
    found = AttributeEstimator(file, threads=1).predict(portrait(), portrait_faces())
    assert found.labels("helmet")[0] in ("no", "yes") and 0 <= found.values["mask"][0] <= 10
    with pytest.raises(KeyError):
        _ = found.age


@pytest.mark.parametrize("name", ["unknown", "points", "yaw", "score", "mood_probability", "nose_x"])
def test_tasks_may_not_be_called_as_other_results(name: str) -> None:
    with pytest.raises(ValueError, match=f"name: '{name}' has another meaning in results"):
        AttributeTask(name, "classification", ("no", "yes"))


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights: expected a safetensors file"):
        AttributeEstimator(tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="weights: expected a name"):
        AttributeEstimator(3)  # type: ignore[arg-type]


def test_it_computes_what_torch_does(weights: Path, estimator: AttributeEstimator) -> None:
    torch = pytest.importorskip("torch")
    from cascade.nn.torch_graph import from_tensors

    crops = portrait_faces().align(portrait())
    network = from_tensors(
        estimator.weights.graph, {name: torch.from_numpy(array) for name, array in estimator.weights.tensors.items()}
    )
    inputs = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128
    with torch.no_grad():
        outputs = network(inputs)
    for name, found in estimator.predict_crops(crops).probabilities.items():
        logits = outputs[estimator.weights.graph.outputs[name]].flatten(1)
        assert np.abs(logits.softmax(1).numpy() - found).max() < 1e-4
