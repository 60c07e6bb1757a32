"""Heads: where each is among the outputs, and how an architecture keeps them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cascade.nn.architectures import ARCHITECTURES, DEFAULT, PAPER, Architecture
from cascade.nn.heads import BOX, DETECTION_HEADS, FACE, LANDMARKS, Head, detection_heads, head_slices

SMILE = Head("smile", 2, "cross_entropy", 0.1)


def test_the_detectors_outputs():
    assert head_slices(DETECTION_HEADS) == {"face": slice(0, 2), "box": slice(2, 6), "landmarks": slice(6, 16)}
    assert [head.weight for head in DETECTION_HEADS] == [1.0, 0.5, 0.5]
    assert detection_heads(6) == (FACE, BOX)
    assert detection_heads(16) == DETECTION_HEADS
    assert detection_heads(7) == detection_heads(0) == ()


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_network_of_a_family_has_them(family):
    for architecture in ARCHITECTURES[family].values():
        assert architecture.heads == DETECTION_HEADS
        assert architecture.without_landmarks().heads == (FACE, BOX)
        assert architecture.output("landmarks") == slice(6, 16)
        with pytest.raises(KeyError):
            architecture.without_landmarks().output("landmarks")


def test_a_further_head_is_one_entry():
    architecture = DEFAULT["onet"].with_heads((*DETECTION_HEADS, SMILE))
    assert (architecture.outputs, architecture.output("smile")) == (18, slice(16, 18))
    assert architecture.layers[:-1] == DEFAULT["onet"].layers[:-1]
    architecture.check_outputs()
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_heads_that_follow_from_the_outputs_are_not_written():
    for architecture in (PAPER["pnet"], PAPER["pnet"].without_landmarks()):
        values = architecture.to_dict()
        assert "heads" not in values
        assert Architecture.from_dict(json.loads(json.dumps(values))) == architecture


@pytest.mark.parametrize(
    ("stage", "heads"),
    [
        ("pnet", (FACE,)),
        ("pnet", (BOX, FACE)),
        ("onet", (FACE, BOX)),
        ("onet", (FACE, BOX, SMILE, LANDMARKS)),
        ("lnet", (replace(FACE, width=3), BOX, LANDMARKS)),
    ],
)
def test_a_detector_needs_its_own_heads_first(stage, heads):
    with pytest.raises(ValueError, match=f"{stage} must end on a layer of the heads face"):
        DEFAULT[stage].with_heads(heads).check_outputs()


def test_heads_that_cannot_be():
    with pytest.raises(ValueError, match="width 0"):
        Head("smile", 0, "l2")
    with pytest.raises(ValueError, match="weight"):
        Head("smile", 1, "l2", -1.0)
    with pytest.raises(ValueError, match="different names"):
        head_slices((FACE, FACE))
    with pytest.raises(ValueError, match="heads of 6 outputs on a layer of 16"):
        replace(PAPER["pnet"], heads=(FACE, BOX))
