"""Readers of the field's own dataset layouts: the same annotations for training and for evaluation.

Readers of detection sets return a Dataset of Photos; those of recognition sets return People, the photos of people,
or Pairs of photos to compare; those of attribute sets return LabelledPhotos. Each names what it had to leave out in
``problems``. No reader decodes an image. Only numpy is needed, but for Parquet. ``REGISTRY`` has the sets that training
and evaluation know by name, ``FORMATS`` the formats that faces are exchanged in: each is written by a function
``open_…``, a context manager that yields what adds a Photo.
"""

from .agedb import read_agedb, read_agedb_pairs
from .cacd import read_cacd_pairs
from .calfw import read_calfw_pairs
from .celeba import read_celeba
from .celeba_attributes import read_celeba_attributes
from .celeba_people import read_celeba_people
from .cfp import read_cfp_pairs, read_cfp_people
from .class_folders import read_class_folders
from .coco import open_coco, read_coco
from .cvat import cvat_labels, open_cvat, read_cvat
from .detections import Boxed, Detections
from .entry import Entry, people_in_folds
from .facepoint import read_facepoint
from .fairface import FAIRFACE_AGES, FAIRFACE_RACES, read_fairface
from .fddb import ellipse_boxes, read_fddb, read_fddb_detections, write_fddb_detections
from .fgnet import read_fgnet
from .folders import read_folder
from .formats import FORMATS, Format, format_of_file, iterate_photos, write_photos
from .genki4k import GENKI4K_FOLDS, read_genki4k
from .identities import read_identities
from .label_csv import read_label_csv
from .label_studio import LABEL_STUDIO_CONFIG, open_label_studio, read_label_studio
from .labelled import GENDERS, LabelledPhoto, LabelledPhotos, labelled_people
from .layouts import LABEL_READERS, PEOPLE_READERS, PHOTO_READERS, read_photos
from .lfw import read_lfw_pairs
from .people import Pair, Pairs, People, PersonPhoto
from .photo import Dataset, DatasetError, Photo, Problem
from .points68 import PointsPhoto, PointsPhotos, read_points68
from .pseudo_labels import read_pseudo_labels
from .registry import REGISTRY
from .results import PhotoFaces, open_json, open_json_lines, photos_from_faces, read_results
from .tables import open_csv, open_parquet, read_csv, read_parquet
from .utkface import UTKFACE_RACES, read_utkface
from .voc import open_voc, read_voc
from .wider import (
    WiderSubsets,
    read_photo_list,
    read_wider,
    read_wider_predictions,
    read_wider_subsets,
    write_wider_predictions,
)
from .wider_text import open_wider
from .xmp import open_xmp, read_xmp
from .yolo import open_yolo, read_yolo

__all__ = [
    "FAIRFACE_AGES",
    "FAIRFACE_RACES",
    "FORMATS",
    "GENDERS",
    "GENKI4K_FOLDS",
    "LABEL_READERS",
    "LABEL_STUDIO_CONFIG",
    "PEOPLE_READERS",
    "PHOTO_READERS",
    "REGISTRY",
    "UTKFACE_RACES",
    "Boxed",
    "Dataset",
    "DatasetError",
    "Detections",
    "Entry",
    "Format",
    "LabelledPhoto",
    "LabelledPhotos",
    "Pair",
    "Pairs",
    "People",
    "PersonPhoto",
    "Photo",
    "PhotoFaces",
    "PointsPhoto",
    "PointsPhotos",
    "Problem",
    "WiderSubsets",
    "cvat_labels",
    "ellipse_boxes",
    "format_of_file",
    "iterate_photos",
    "labelled_people",
    "open_coco",
    "open_csv",
    "open_cvat",
    "open_json",
    "open_json_lines",
    "open_label_studio",
    "open_parquet",
    "open_voc",
    "open_wider",
    "open_xmp",
    "open_yolo",
    "people_in_folds",
    "photos_from_faces",
    "read_agedb",
    "read_agedb_pairs",
    "read_cacd_pairs",
    "read_calfw_pairs",
    "read_celeba",
    "read_celeba_attributes",
    "read_celeba_people",
    "read_cfp_pairs",
    "read_cfp_people",
    "read_class_folders",
    "read_coco",
    "read_csv",
    "read_cvat",
    "read_facepoint",
    "read_fairface",
    "read_fddb",
    "read_fddb_detections",
    "read_fgnet",
    "read_folder",
    "read_genki4k",
    "read_identities",
    "read_label_csv",
    "read_label_studio",
    "read_lfw_pairs",
    "read_parquet",
    "read_photo_list",
    "read_photos",
    "read_points68",
    "read_pseudo_labels",
    "read_results",
    "read_utkface",
    "read_voc",
    "read_wider",
    "read_wider_predictions",
    "read_wider_subsets",
    "read_xmp",
    "read_yolo",
    "write_fddb_detections",
    "write_photos",
    "write_wider_predictions",
]
