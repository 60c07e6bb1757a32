"""Readers of the field's own dataset layouts: the same annotations for training and for evaluation.

Every reader returns a Dataset of Photos and names what it had to leave out in ``Dataset.problems``. No reader
decodes an image. Only numpy is needed, and scipy for the .mat files of WIDER FACE.
"""

from .celeba import read_celeba
from .coco import read_coco
from .detections import Boxed, Detections
from .fddb import ellipse_boxes, read_fddb, read_fddb_detections, write_fddb_detections
from .folders import read_folder
from .photo import Dataset, DatasetError, Photo, Problem
from .wider import (
    WiderSubsets,
    read_photo_list,
    read_wider,
    read_wider_predictions,
    read_wider_subsets,
    write_wider_predictions,
)

__all__ = [
    "Boxed",
    "Dataset",
    "DatasetError",
    "Detections",
    "Photo",
    "Problem",
    "WiderSubsets",
    "ellipse_boxes",
    "read_celeba",
    "read_coco",
    "read_fddb",
    "read_fddb_detections",
    "read_folder",
    "read_photo_list",
    "read_wider",
    "read_wider_predictions",
    "read_wider_subsets",
    "write_fddb_detections",
    "write_wider_predictions",
]
