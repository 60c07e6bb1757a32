"""Readers of the field's own dataset layouts: the same annotations for training and for evaluation.

Readers of detection sets return a Dataset of Photos; those of recognition sets return People, the photos of people,
or Pairs of photos to compare; those of attribute sets return LabelledPhotos. Each names what it had to leave out in
``problems``. No reader decodes an image. Only numpy is needed. ``REGISTRY`` has the sets that training and evaluation
know by name.
"""

from .agedb import read_agedb, read_agedb_pairs
from .cacd import read_cacd_pairs
from .calfw import read_calfw_pairs
from .celeba import read_celeba
from .celeba_attributes import read_celeba_attributes
from .celeba_people import read_celeba_people
from .cfp import read_cfp_pairs
from .class_folders import read_class_folders
from .coco import read_coco
from .detections import Boxed, Detections
from .fairface import FAIRFACE_AGES, FAIRFACE_RACES, read_fairface
from .fddb import ellipse_boxes, read_fddb, read_fddb_detections, write_fddb_detections
from .fgnet import read_fgnet
from .folders import read_folder
from .genki4k import GENKI4K_FOLDS, read_genki4k
from .identities import read_identities
from .label_csv import read_label_csv
from .labelled import GENDERS, LabelledPhoto, LabelledPhotos, labelled_people
from .lfw import read_lfw_pairs
from .people import Pair, Pairs, People, PersonPhoto
from .photo import Dataset, DatasetError, Photo, Problem
from .points68 import PointsPhoto, PointsPhotos, read_points68
from .pseudo_labels import read_pseudo_labels
from .registry import LABEL_READERS, PEOPLE_READERS, PHOTO_READERS, REGISTRY, Entry, people_in_folds, read_photos
from .utkface import UTKFACE_RACES, read_utkface
from .wider import (
    WiderSubsets,
    read_photo_list,
    read_wider,
    read_wider_predictions,
    read_wider_subsets,
    write_wider_predictions,
)

__all__ = [
    "FAIRFACE_AGES",
    "FAIRFACE_RACES",
    "GENDERS",
    "GENKI4K_FOLDS",
    "LABEL_READERS",
    "PEOPLE_READERS",
    "PHOTO_READERS",
    "REGISTRY",
    "UTKFACE_RACES",
    "Boxed",
    "Dataset",
    "DatasetError",
    "Detections",
    "Entry",
    "LabelledPhoto",
    "LabelledPhotos",
    "Pair",
    "Pairs",
    "People",
    "PersonPhoto",
    "Photo",
    "PointsPhoto",
    "PointsPhotos",
    "Problem",
    "WiderSubsets",
    "ellipse_boxes",
    "labelled_people",
    "people_in_folds",
    "read_agedb",
    "read_agedb_pairs",
    "read_cacd_pairs",
    "read_calfw_pairs",
    "read_celeba",
    "read_celeba_attributes",
    "read_celeba_people",
    "read_cfp_pairs",
    "read_class_folders",
    "read_coco",
    "read_fairface",
    "read_fddb",
    "read_fddb_detections",
    "read_fgnet",
    "read_folder",
    "read_genki4k",
    "read_identities",
    "read_label_csv",
    "read_lfw_pairs",
    "read_photo_list",
    "read_photos",
    "read_points68",
    "read_pseudo_labels",
    "read_utkface",
    "read_wider",
    "read_wider_predictions",
    "read_wider_subsets",
    "write_fddb_detections",
    "write_wider_predictions",
]
