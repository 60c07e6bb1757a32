"""Evaluating face detectors by the field's own protocols: ``python -m eval --help`` from a clone.

    fddb        the curves of the official FDDB tool
    wider       the easy, medium and hard average precision of the official WIDER FACE tool
    landmarks   how far five landmarks lie from the truth
    detection   plain average precision on any labelled photos
    benchmark   all test sets of a data folder for our detector, beside baselines
    compare     the same figures for prediction files alone
    errors      a page of pictures of what a detector got wrong
    robustness  which faces are still found in other light, rotated, cut or close up
    engines     whether another engine finds the faces that the native one finds
    verification    do two photos show the same person: LFW, CALFW, AgeDB-30, CACD-VS
    identification  whose face is it: FG-NET leave-one-out, a gallery and probes, distractors
    templates       what protected templates cost in accuracy, and what attackers compute of them: LFW, FG-NET
    clustering      grouping faces by person, beside DBSCAN and HDBSCAN
    cross-age       pairs of children, and pairs of photos taken 20 years apart: FG-NET
    age             how far estimated ages are off: UTKFace, FG-NET
    false-accepts   how often two people are taken for one, by age, gender and race: UTKFace
    attributes      how often each attribute is told right, by group
    anonymize       which faces are hidden, and whether hidden ones can be recognised
    tracking        how well people are followed through clips made of photos
    synthesis       faces at other ages, evaluated by independent networks

The protocols are functions that return frozen dataclasses and print nothing: `eval.detection.fddb.evaluate`,
`eval.detection.wider.evaluate` and so on. `eval.commands` is the command line around them. docs/evaluation.md
says what every key of summary.json means.
"""
