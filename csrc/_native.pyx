# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The thin module over the C core: checks every shape and size, then calls C, without the GIL where that takes long.

``csrc/include`` states the conventions, ``_native.pyi`` the shapes and dtypes.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, fabs, floor, ldexp, rint, sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc

from core cimport *

import operator
import os

import numpy as np

cdef enum:
    MAX_LAYERS = 60
    MAX_SIDE = 1 << 20
    MAX_CHANNELS = 1 << 14

include "arguments.pxi"
include "simd.pxi"
include "threadpool.pxi"
include "resample.pxi"
include "exposure.pxi"
include "crops.pxi"
include "network.pxi"
include "dense_scan.pxi"
include "graph.pxi"
include "boxes.pxi"
include "landmarks.pxi"
