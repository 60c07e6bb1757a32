"""The record of a run, and changes to its settings."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from tests.train.easy_samples import SETTINGS
from train.common.settings import save_settings, with_changes


def test_settings_are_written_with_the_revision(tmp_path):
    save_settings(SETTINGS, tmp_path / "deep", samples={"photos": 3}, command="x")
    record = json.loads((tmp_path / "deep/settings.json").read_text())
    assert record["settings"] == json.loads(json.dumps(asdict(SETTINGS)))
    assert record["revision"]
    assert (record["samples"], record["command"]) == ({"photos": 3}, "x")


def test_with_changes_takes_what_is_said():
    changed = with_changes(SETTINGS, {"batch": 7, "augment": False, "steps": None, "seed": 0})
    assert changed == replace(SETTINGS, batch=7, augment=False, seed=0)


def test_lists_of_options_become_tuples():
    assert with_changes(SETTINGS, {"ratio": [1, 2, 1, 0]}) == replace(SETTINGS, ratio=(1, 2, 1, 0))
