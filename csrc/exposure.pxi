# Automatic exposure in _native.pyx.


def auto_exposure(image):
    """The image in an ordinary tonal range; the very same array if it has one already."""
    pixels = check_image(image)
    cdef const uint8_t[:, :, ::1] source = pixels
    check_pixels(source)
    cdef uint8_t[3][256] table
    cdef uint8_t[:, :, ::1] target
    if not cascade_exposure_table(&source[0, 0, 0], source.shape[1], source.shape[0], table):
        return image
    out = np.empty((source.shape[0], source.shape[1], 3), np.uint8)
    target = out
    with nogil:
        cascade_exposure_apply(&source[0, 0, 0], source.shape[0] * source.shape[1], table, &target[0, 0, 0])
    return out
