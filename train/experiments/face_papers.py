"""What four papers compare on what a face tells: tasks, sets, networks, and the figures that they print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cascade.age_groups import age_groups, group_numbers
from cascade.datasets import GENDERS, UTKFACE_RACES
from cascade.models.recognizer import load_recognizer
from cascade.nn.graphs import Graph
from cascade.nn.torch_graph import GraphNetwork, from_tensors
from train.attributes.networks import BKNet, BranchNet, EmotionNet, FaceNetwork, FrozenTrunk, ResNet18
from train.attributes.tasks import Task

__all__ = ["PAPERS", "FaceArm", "FacePaper", "FaceSet"]

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
OLDEST = 120


@dataclass(frozen=True)
class FaceSet:
    """A registered set, and which of its photos the networks are tested on: a share at random, or those of a fold."""

    name: str
    test: float = 0.2
    fold: str = ""


@dataclass(frozen=True)
class FaceArm:
    """One network of a comparison.

    name      short, also of its folder
    tasks     by name, what it learns
    network   from the tasks to the network
    changes   of the settings that all arms share
    printed   by figure, what the paper prints for it
    """

    name: str
    tasks: tuple[str, ...]
    network: Callable[[Sequence[Task]], FaceNetwork]
    changes: Mapping[str, Any] = field(default_factory=dict)
    printed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FacePaper:
    """One paper.

    different   what could not be the same as in it
    validation  share of the faces not tested on that the rate, the end and the best weights are chosen by
    """

    title: str
    tasks: Mapping[str, Task]
    sets: tuple[FaceSet, ...]
    arms: tuple[FaceArm, ...]
    different: str
    validation: float = 0.1


def age_group_task(name: str, groups: str, **more: Any) -> Task:
    """A classification of ages in groups, from labels of one year each."""
    chosen = age_groups(groups)
    numbers = group_numbers(range(OLDEST + 1), chosen).tolist()
    aliases = {f"{year}": (chosen[number][0],) for year, number in enumerate(numbers)}
    return Task(name, "classification", "age", tuple(each for each, _, _ in chosen), aliases, **more)


def _gender() -> Task:
    return Task("gender", "classification", "", GENDERS)


def _frozen(tasks: Sequence[Task], node: int) -> FrozenTrunk:
    """The recogniser up to a node as the frozen base."""
    import torch

    weights = load_recognizer()
    part = Graph(weights.graph.name, weights.graph.input_size, weights.graph.nodes[: node + 1], {"last": node})
    tensors = {name: torch.from_numpy(weights.tensors[name]) for name in part.tensor_shapes()}
    base: GraphNetwork = from_tensors(part, tensors)
    return FrozenTrunk(tasks, base, node, part.shapes()[node][1])


PAPERS: Mapping[str, FacePaper] = {
    "li": FacePaper(
        "Li, Multi-task Face Recognition System (2025)",
        {
            "age": age_group_task("age", "twelve", balance=0.3),
            "gender": _gender(),
            "ethnicity": Task("ethnicity", "classification", "", UTKFACE_RACES, balance=0.3),
            "expression": Task("expression", "classification", "", EXPRESSIONS, balance=0.3),
        },
        (FaceSet("utkface_full"), FaceSet("fer2013_train")),
        (
            FaceArm(
                "resnet18",
                ("age", "gender", "ethnicity"),
                ResNet18,
                {"task_weights": "dwa"},
                {"gender_accuracy": 0.9022, "ethnicity_accuracy": 0.6871, "age_accuracy": 0.65},
            ),
            FaceArm("emotionnet", ("expression",), EmotionNet, {}, {"expression_accuracy": 0.7569}),
        ),
        "The paper starts from ImageNet and gives neither its split nor its widths; here networks start from random "
        "weights, a fifth of each set is held out to test on, and crops are aligned. It prints 60 to 70 % for ages, "
        "65 % stands for that. FER2013's PrivateTest is left alone: the test faces are of its training part.",
    ),
    "aboluhom": FacePaper(
        "Aboluhom and Kandilli, Facial recognition via multitask learning on Raspberry Pi (2025)",
        {
            "person": Task("person", "classification", "identity", tuple("123456789")),
            "young": Task("young", "classification", "", ("no", "yes")),
            "gender": _gender(),
        },
        (FaceSet("celeba_people", 0.3),),
        (
            FaceArm(
                "trunk_early",
                ("person", "young", "gender"),
                partial(_frozen, node=40),
                {},
                {"person_accuracy": 0.933, "young_accuracy": 0.956, "gender_accuracy": 0.975},
            ),
            FaceArm(
                "trunk_middle",
                ("person", "young", "gender"),
                partial(_frozen, node=43),
                {},
                {"person_accuracy": 0.983, "young_accuracy": 0.973, "gender_accuracy": 0.990},
            ),
            FaceArm(
                "trunk_late",
                ("person", "young", "gender"),
                partial(_frozen, node=47),
                {},
                {"person_accuracy": 0.990, "young_accuracy": 0.993, "gender_accuracy": 0.995},
            ),
        ),
        "The paper's nine people, age groups and ethnicities are of a part of VGGFace2 that cannot be had, and its "
        "bases have weights from ImageNet. Here they are the nine people of CelebA with most photos, whether they look "
        "young, and gender; the bases are our recogniser up to three of its layers. Printed are InceptionV3, "
        "MobileNetV2 and MobileNet, for age group and ethnicity.",
    ),
    "rohani": FacePaper(
        "Rohani et al., Deep Multi-task CNNs for Efficient Classification of Face Attributes (2023)",
        {
            "smile": Task("smile", "classification", "", ("no", "yes")),
            "gender": _gender(),
            "age": age_group_task("age", "six"),
        },
        (FaceSet("genki4k", fold="4"), FaceSet("utkface_full")),
        (
            FaceArm("bknet_smile", ("smile",), BKNet, {}, {"smile_accuracy": 0.9508, "weights": 2418146}),
            FaceArm("bknet_gender", ("gender",), BKNet, {}, {"gender_accuracy": 0.9116, "weights": 2418146}),
            FaceArm("bknet_age", ("age",), BKNet, {}, {"age_accuracy": 0.6540}),
            FaceArm(
                "mtl_bknet",
                ("smile", "gender", "age"),
                BKNet,
                {},
                {"smile_accuracy": 0.9560, "gender_accuracy": 0.9128, "age_accuracy": 0.6781, "weights": 3731946},
            ),
            FaceArm(
                "mtl_mbknet",
                ("smile", "gender", "age"),
                partial(BKNet, skip=True),
                {},
                {"smile_accuracy": 0.9663, "gender_accuracy": 0.9320, "age_accuracy": 0.6892, "weights": 3953130},
            ),
        ),
        "Ages and gender are UTKFace's, as IMDB-WIKI cannot be had: 20,769 faces in place of 170,000. GENKI-4K is "
        "split 3,000 to 1,000 as in the paper. Crops are aligned; AdamW and a plateau take the place of the "
        "paper's decay.",
    ),
    "speziali": FacePaper(
        "Speziali, Dual-Task CNN vs. Single-Task CNNs",
        {"gender": _gender(), "age": Task("age", "regression", low=0, high=116)},
        (FaceSet("utkface_full", 0.3),),
        (
            FaceArm("single_gender", ("gender",), BranchNet),
            FaceArm("single_age", ("age",), BranchNet),
            FaceArm("dual", ("gender", "age"), BranchNet),
        ),
        "The paper prints no figures. Its widths and sizes are not given: see the network. 70 % of the faces are "
        "learned from, less 30 % of them to stop by, as in the paper.",
        validation=0.3,
    ),
}
"""By the first author."""
