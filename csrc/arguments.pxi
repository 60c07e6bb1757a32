# The checks of arguments: each raises an error that begins with the argument's name.


cdef check_image(image, name="image"):
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{name}: expected a uint8 array (height, width, 3), got {describe(image)}")
    if image.shape[0] == 0 or image.shape[1] == 0 or max(image.shape) > MAX_SIDE:
        raise ValueError(f"{name}: expected sides of 1 to {MAX_SIDE} pixels, got {describe(image)}")
    return np.ascontiguousarray(image)


cdef int check_pixels(const uint8_t[:, :, ::1] pixels, name="image") except -1:
    """Checks a view as `check_image` does its array, whose shape another thread may have changed since."""
    if pixels.shape[2] != 3 or not 0 < pixels.shape[0] <= MAX_SIDE or not 0 < pixels.shape[1] <= MAX_SIDE:
        raise ValueError(f"{name}: expected a uint8 array (height, width, 3), got one whose shape changes meanwhile")
    return 0


cdef int check_crops(const uint8_t[:, :, :, ::1] crops, size_t side) except -1:
    """Checks a view of crops for the same reason."""
    if <size_t>crops.shape[1] != side or <size_t>crops.shape[2] != side or crops.shape[3] != 3:
        raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got an array whose shape changes meanwhile")
    return 0


cdef cascade_image strip_of(image, top, height) except *:
    """The rows from ``top`` on of an image of ``height`` rows (None: there are no others after them).

    ``image`` must have passed `check_image`.
    """
    cdef const uint8_t[:, :, ::1] pixels = image
    check_pixels(pixels)
    cdef cascade_image strip
    strip.pixels = &pixels[0, 0, 0]
    strip.rows, strip.width = pixels.shape[0], pixels.shape[1]
    strip.top = integer("top", top, 0, MAX_SIDE)
    strip.height = strip.top + strip.rows if height is None else integer("height", height, 1, MAX_SIDE)
    if strip.top + strip.rows > strip.height:
        raise ValueError(f"image: expected at most {strip.height} rows with those above, got {strip.top} + {strip.rows}")
    return strip


cdef int check_rows(const cascade_image *image, size_t first, size_t end) except -1:
    """Raises ValueError unless the image has the rows [first, end)."""
    if first < end and (first < image.top or end > image.top + image.rows):
        raise ValueError(f"image: expected rows {first} to {end}, got {image.top} to {image.top + image.rows}")
    return 0


cdef int check_signals() except -1 with gil:
    """Runs the handlers of signals that came meanwhile; one may raise, as that of Ctrl-C does."""
    return PyErr_CheckSignals()


cdef describe(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__


cdef numbers(values, name, dtype):
    """A copy, so that no other thread changes numbers after they were checked."""
    try:
        return np.array(values, dtype=dtype, order="C")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected numbers, got {describe(values)}") from None


cdef integers(values, name):
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected whole numbers, got {describe(values)}") from None
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected whole numbers, got {describe(array)}")
    return array.astype(np.int64, order="C")


cdef check_boxes(boxes, name, dtype):
    array = numbers(boxes, name, dtype)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected an array (n, 4), got shape {array.shape}")
    return array


cdef integer(name, value, low, high):
    """``value`` as an int of ``low`` to ``high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {describe(value)}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {number}")
    return number


cdef real(name, value, low=float("-inf")):
    """``value`` as a float of at least ``low``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None
    if not number >= low:
        raise ValueError(f"{name}: expected a number of at least {low:g}, got {number}")
    return number
