# The SIMD levels of _native.pyx.


cdef usable_levels():
    """Names of the levels that this machine can run, best first, each with its index among those compiled in."""
    cdef const cascade_kernels *const *levels = cascade_simd_levels()
    found = {}
    index = 0
    while levels[index] != NULL:
        if levels[index].usable():
            found[levels[index].name.decode()] = index
        index += 1
    return found


# found once: on a virtual machine CPUID takes tens of microseconds
cdef dict USABLE = usable_levels()


def simd_levels():
    """Names of the SIMD levels that this machine can run, best first."""
    return list(USABLE)


cdef const cascade_kernels *kernels_of(name) except NULL:
    index = USABLE.get(name) if isinstance(name, str) else None
    if index is None:
        raise ValueError(f"level: expected one of {', '.join(USABLE)} on this machine, got {name!r}")
    return cascade_simd_levels()[<size_t>index]


def default_simd_level():
    """The level in use: the environment variable CASCADE_SIMD, or the best this machine can run."""
    wanted = os.environ.get("CASCADE_SIMD")
    if not wanted:
        return next(iter(USABLE))
    if wanted not in USABLE:
        raise ValueError(f"CASCADE_SIMD: expected one of {', '.join(USABLE)} on this machine, got {wanted!r}")
    return wanted


def int8_is_fast(level):
    """Whether int8 networks are as fast as float32 ones or faster at a SIMD level."""
    return bool(kernels_of(level).int8_fast)
