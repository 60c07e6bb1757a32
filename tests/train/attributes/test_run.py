"""A user's own task from the command line: packing, training, resuming, the weight file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cascade.attributes import AttributeEstimator
from cascade.models.attributes import load_attributes
from cascade.nn.torch_graph import from_tensors
from cascade.single_face import SingleFace
from tests.train.attributes.drawn import HELMET, RUN, draw_folders
from train.__main__ import main
from train.attributes import prepare
from train.attributes.pack import pack_source
from train.attributes.settings import read_config
from train.attributes.store import load_labelled_crops
from train.attributes.torch_file import load_torch_network
from train.attributes.trainer import AttributeRun
from train.common.checkpoints import TrainingError
from train.detection.augment import normalise
from train.detection.sources import SourceError


@pytest.fixture
def whole_crops(monkeypatch):
    """Drawn crops have no faces to find: each is taken as it is."""
    from cascade.imaging.reading import read_image

    def whole(photos, source, workers, cut):
        for photo in photos:
            yield photo, SingleFace(read_image(photo.path), np.full((5, 2), 0.5, np.float32))

    monkeypatch.setattr("train.attributes.pack._cut", whole)


def run(config, root, out, *options):
    return main(
        ["attributes", "--config", str(config), "--root", str(root), "--out", str(out), "--workers", "1", *options]
    )


def test_folders_of_ones_own_become_a_weight_file(whole_crops, tmp_path, capsys):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)
    assert run(config, tmp_path, tmp_path / "run") == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["helmet"] < 0.5 * rows[0]["helmet"]
    assert rows[-1]["validation"]["helmet_accuracy"] == 1.0
    weights = load_attributes(tmp_path / "run" / "attributes.safetensors")
    assert "helmet (no, yes)" in weights.path.with_suffix(".md").read_text()
    crops = load_labelled_crops(tmp_path / "run" / "faces" / "mine")
    estimator = AttributeEstimator(weights, threads=1)
    found = estimator.predict_crops(np.array(crops.crops))
    assert found.labels("helmet") == crops.label_texts("helmet")
    # the native engine answers as torch does
    tensors = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    inputs = normalise(torch.from_numpy(np.array(crops.crops)).permute(0, 3, 1, 2).float())
    logits = from_tensors(weights.graph, tensors)(inputs)[weights.graph.outputs["helmet"]].flatten(1)
    np.testing.assert_allclose(found.probabilities["helmet"], logits.softmax(1).numpy(), atol=1e-4)


def test_a_run_begins_from_a_weight_file(whole_crops, tmp_path):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)
    assert run(config, tmp_path, tmp_path / "run") == 0
    weights = load_attributes(tmp_path / "run" / "attributes.safetensors")
    settings = read_config(config, tmp_path, {"start": str(weights.path)})
    faces, model = prepare.prepared(settings, tmp_path, tmp_path / "run" / "faces", 1)
    inputs = faces.inputs(faces.measured, np.zeros(len(faces.measured), np.int64))
    tensors = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    expected = from_tensors(weights.graph, tensors)(inputs)[weights.graph.outputs["helmet"]].flatten(1)
    torch.testing.assert_close(model.eval()(inputs)["helmet"].detach(), expected, atol=1e-3, rtol=1e-3)
    again = ["--steps", "1", "--learning-rate", "1e-5", "--faces", str(tmp_path / "run" / "faces")]
    assert run(config, tmp_path, tmp_path / "again", *again, "--initial", str(weights.path)) == 0
    (row,) = [json.loads(line) for line in (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()]
    assert row["validation"]["helmet_accuracy"] == 1.0


def test_a_network_for_torch_alone_says_so(whole_crops, tmp_path, capsys):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN.replace('"small"', '"bknet"').replace("steps = 40", "steps = 2") + HELMET)
    assert run(config, tmp_path, tmp_path / "run", "--task-weights", "gradnorm") == 0
    assert "for torch alone: bknet has no weight file for `cascade`" in capsys.readouterr().out
    network = load_torch_network(tmp_path / "run" / "attributes.safetensors")
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 112, 112))["helmet"].shape == (2, 2)
    with pytest.raises(ValueError, match="weights: "):
        load_attributes(tmp_path / "run" / "attributes.safetensors")


def test_a_resumed_run_equals_an_uninterrupted_one(whole_crops, tmp_path):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)

    def fresh(out):
        settings = read_config(config, tmp_path)
        faces, model = prepare.prepared(settings, tmp_path, tmp_path / "faces", 1)
        return AttributeRun(settings.settings, faces, model, tmp_path / out)

    whole = fresh("whole")
    whole.train()
    stopped = fresh("stopped")
    stopped.every = (20, 20)
    step = stopped.train_step

    def stop():
        if stopped.step == 25:
            raise KeyboardInterrupt
        return step()

    stopped.train_step = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    resumed = fresh("stopped")
    resumed.train()
    for name, tensor in whole.best.state_dict().items():
        assert torch.equal(tensor, resumed.best.state_dict()[name]), name


def test_a_run_goes_on_with_the_same_tasks_sources_and_faces_only(whole_crops, tmp_path):
    draw_folders(tmp_path, 12)
    config, text = tmp_path / "mine.toml", RUN.replace('"small"', '"bknet"') + HELMET

    def fresh(text, root=tmp_path):
        config.write_text(text)
        settings = read_config(config, root)
        faces, model = prepare.prepared(settings, root, root / "faces", 1)
        return AttributeRun(settings.settings, faces, model, tmp_path / "run")

    first = fresh(text)
    first.step = 3
    first.save()
    again = fresh(text)
    again.resume()
    assert again.step == 3
    for other in (
        text.replace('classes = ["no", "yes"]', 'classes = ["yes", "no"]'),  # shapes are the same in all of these
        text.replace('classes = ["no", "yes"]', 'classes = ["no", "yes"]\nbalance = 0.5'),
        text + "validation = 0.4\n",
        text + 'where = {helmet = ["yes"]}\n',
    ):
        with pytest.raises(TrainingError, match="was made with other data"):
            fresh(other).resume()
    moved = tmp_path / "moved"
    (tmp_path / "helmets").rename(moved.with_name("kept"))
    moved.mkdir()
    (tmp_path / "kept").rename(moved / "helmets")
    fresh(text, moved).resume()
    next((moved / "helmets").glob("*/*.png")).unlink()
    (moved / "faces").rename(tmp_path / "before")
    with pytest.raises(TrainingError, match="was made with other data"):
        fresh(text, moved).resume()


def test_no_face_is_learned_from_through_one_entry_and_measured_on_through_another(whole_crops, tmp_path):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    entry = HELMET[HELMET.index("[[source]]") :]

    def faces(first, second):
        config.write_text(RUN + HELMET + f"where = {{helmet = {first}}}\n" + entry + second)
        return prepare.prepared(read_config(config, tmp_path), tmp_path, tmp_path / "faces", 1)[0]

    for second in ('where = {helmet = ["yes"]}\nuse = "validation"\n', 'where = {helmet = ["yes"]}\n'):
        with pytest.raises(TrainingError, match="source mine: one entry learns from photos that another one holds out"):
            faces('["no", "yes"]', second)
        assert len(faces('["no"]', second).measured)


def test_a_plateau_lowers_the_rate_and_ends_the_run(whole_crops, tmp_path):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    changes = 'schedule = "plateau"\npatience = 1\nfactor = 0.5\nstop_after = 2\nvalidate_every = 5\nsteps = 40\n'
    kept = RUN.replace("validate_every = 20\n", "").replace("steps = 40\n", "")
    config.write_text(kept + changes + HELMET)
    settings = read_config(config, tmp_path)
    faces, model = prepare.prepared(settings, tmp_path, tmp_path / "faces", 1)
    attempt = AttributeRun(settings.settings, faces, model, tmp_path / "run")
    attempt.train()
    assert attempt.step < 40  # all is known after a few validations, and none gets better
    assert attempt.plateau.best == 1.0
    assert attempt.plateau.since == 2 and attempt.plateau.lowered >= 2
    assert attempt.rate(30) == pytest.approx(5e-3 * 0.5**attempt.plateau.lowered)


def test_a_csv_with_an_unknown_label_names_it(whole_crops, tmp_path, capsys):
    draw_folders(tmp_path)
    (tmp_path / "labels.csv").write_text("image,helmet\nno/0.png,no\nyes/1.png,yes\nno/2.png,perhaps\n")
    config = tmp_path / "mine.toml"
    config.write_text(
        RUN
        + HELMET.replace('kind = "folders"', 'kind = "csv"\nlabels = "labels.csv"').replace(
            'attribute = "helmet"\n', ""
        )
    )
    assert run(config, tmp_path, tmp_path / "run") == 1
    assert "helmet 'perhaps': expected one of no, yes" in capsys.readouterr().err


def test_packed_faces_are_not_taken_for_those_of_another_set(whole_crops, tmp_path):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)
    (source,) = read_config(config, tmp_path).sources
    packed = pack_source(source, tmp_path, tmp_path / "faces", 1)
    assert len(packed) == 24 and packed.found.all()
    assert len(pack_source(source, tmp_path, tmp_path / "faces", 1)) == 24
    photo = source.read(tmp_path).photos[0].path  # another label under the same name of the set
    other = next(each.path.parent for each in source.read(tmp_path).photos if each.path.parent != photo.parent)
    moved = photo.rename(other / f"moved-{photo.name}")
    with pytest.raises(ValueError, match="packed with other settings, photos or labels"):
        pack_source(source, tmp_path, tmp_path / "faces", 1)
    moved.rename(photo)
    config.write_text(RUN + HELMET + "limit = 5\n")
    (source,) = read_config(config, tmp_path).sources
    with pytest.raises(ValueError, match="packed with other settings"):
        pack_source(source, tmp_path, tmp_path / "faces", 1)


def test_packing_that_is_broken_off_leaves_nothing(tmp_path, monkeypatch):
    draw_folders(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)
    (source,) = read_config(config, tmp_path).sources

    def broken_off(photos, source, workers, cut):
        yield photos[0], SingleFace(np.zeros((112, 112, 3), np.uint8), np.full((5, 2), 0.5, np.float32))
        raise KeyboardInterrupt

    monkeypatch.setattr("train.attributes.pack._cut", broken_off)
    with pytest.raises(KeyboardInterrupt):
        pack_source(source, tmp_path, tmp_path / "faces", 1)
    assert list((tmp_path / "faces").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RUN, r"\[\[source\]\] entries|\[\[task\]\] entries"),
        (RUN + HELMET + "[other]\n", "got other"),
        (RUN + "speed = 3\n" + HELMET, "run: unknown settings speed"),
        (RUN.replace("steps = 40", "steps = 0") + HELMET, "steps: expected an integer of at least 1"),
        (RUN + HELMET.replace('kind = "folders"\n', ""), "source 1: name: 'mine' needs kind and images"),
        (RUN + HELMET.replace('name = "mine"\nkind = "folders"', 'name = "fairface_val"'), "is a test set"),
        (RUN + HELMET.replace('attribute = "helmet"\n', ""), "source 1: attribute"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, message):
    config = tmp_path / "mine.toml"
    config.write_text(text)
    with pytest.raises(SourceError, match=message):
        read_config(config, tmp_path)


def test_test_sets_are_neither_learned_from_nor_chosen_on(tmp_path):
    config = tmp_path / "mine.toml"
    for name in ("fairface_val", "fer2013_test", "utkface_test", "fgnet"):
        for use in ("train", "validation"):
            config.write_text(RUN + HELMET + f'[[source]]\nname = "{name}"\nuse = "{use}"\n')
            with pytest.raises(SourceError, match=f"{name} is a test set"):
                read_config(config, tmp_path)
    config.write_text(RUN + HELMET + '[[source]]\nname = "fer2013_val"\n')
    with pytest.raises(SourceError, match="holdout set"):
        read_config(config, tmp_path)


def test_the_shipped_recipe_can_be_read(tmp_path):
    from pathlib import Path

    import train

    recipe = Path(train.__file__).parent / "recipes" / "attributes.toml"
    config = read_config(recipe, tmp_path)
    assert [task.name for task in config.tasks] == ["age", "gender", "ethnicity", "expression", "smile"]
