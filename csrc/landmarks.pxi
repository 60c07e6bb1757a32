# The landmarks of _native.pyx: from a network's outputs to pixels, similarity transforms and their inverse.


cdef check_points(points, name, dtype):
    array = numbers(points, name, dtype)
    if array.ndim != 3 or array.shape[1] == 0 or array.shape[2] != 2:
        raise ValueError(f"{name}: expected an array (n, k, 2), got shape {array.shape}")
    return array


def window_points(windows, shares):
    """Points given as fractions of their windows' sides, in pixels of the photo."""
    windows, shares = check_boxes(windows, "windows", np.float32), check_points(shares, "shares", np.float32)
    if len(windows) != len(shares):
        raise ValueError(f"shares: expected shape ({len(windows)}, k, 2), got {shares.shape}")
    out = np.empty(shares.shape, np.float32)
    cdef const float[:, ::1] edges = windows
    cdef const float[:, :, ::1] source = shares
    cdef float[:, :, ::1] target = out
    cdef size_t i
    for i in range(<size_t>source.shape[0]):
        cascade_window_points(&edges[i, 0], &source[i, 0, 0], source.shape[1], &target[i, 0, 0])
    return out


def similarity_transforms(points, template, rounding):
    """The similarity transform of each face's points to those of a template; NaN where there is none."""
    points, template = check_points(points, "points", np.float64), numbers(template, "template", np.float64)
    if template.shape != points.shape[1:]:
        raise ValueError(f"template: expected shape {points.shape[1:]}, got {template.shape}")
    out = np.empty((len(points), 2, 3))
    cdef const double[:, :, ::1] source = points
    cdef const double[:, ::1] target = template
    cdef double[:, :, ::1] matrices = out
    cdef double share = real("rounding", rounding, 0)
    cdef size_t i
    for i in range(<size_t>source.shape[0]):
        cascade_similarity(&source[i, 0, 0], &target[0, 0], target.shape[0], share, &matrices[i, 0, 0])
    return out


cdef check_matrices(matrices):
    matrices = numbers(matrices, "matrices", np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (2, 3):
        raise ValueError(f"matrices: expected an array (n, 2, 3), got shape {matrices.shape}")
    return matrices


def can_align(points, matrices, size):
    """Which faces these matrices can align to crops of ``size`` pixels."""
    points, matrices = check_points(points, "points", np.float32), check_matrices(matrices)
    if len(points) != len(matrices):
        raise ValueError(f"matrices: expected shape ({len(points)}, 2, 3), got {matrices.shape}")
    out = np.empty(len(points), np.bool_)
    cdef const float[:, :, ::1] source = points
    cdef const double[:, :, ::1] transforms = matrices
    cdef uint8_t[::1] target = out.view(np.uint8)
    cdef double side = real("size", size, 1)
    cdef size_t i
    for i in range(<size_t>target.shape[0]):
        target[i] = cascade_can_align(&source[i, 0, 0], source.shape[1], &transforms[i, 0, 0], side)
    return out


def inverse_transform(points, matrices):
    """Points of aligned crops in pixels of the photo."""
    points, matrices = check_points(points, "points", np.float32), check_matrices(matrices)
    if len(points) != len(matrices):
        raise ValueError(f"matrices: expected shape ({len(points)}, 2, 3), got {matrices.shape}")
    out = np.empty(points.shape, np.float64)
    cdef const float[:, :, ::1] source = points
    cdef const double[:, :, ::1] transforms = matrices
    cdef double[:, :, ::1] target = out
    cdef size_t i, k
    for i in range(<size_t>source.shape[0]):
        for k in range(<size_t>source.shape[1]):
            cascade_inverse_transform(&transforms[i, 0, 0], source[i, k, 0], source[i, k, 1], &target[i, k, 0])
    return out
