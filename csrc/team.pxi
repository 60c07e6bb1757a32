# The threads of _native.pyx that work on one call together, and the memory of each.

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)

cdef extern from "cascade.h" nogil:
    ctypedef void (*cascade_work)(void *context, size_t item, void *workspace) noexcept nogil

    ctypedef struct cascade_team:
        pass

    ctypedef struct cascade_helper:
        void *workspace

    int cascade_team_lead(cascade_team *pool)
    void cascade_team_leave(cascade_team *pool)
    void cascade_team_open(cascade_team *pool, cascade_work work, void *context, size_t count)
    void cascade_team_finish(cascade_team *pool, void *workspace)
    void cascade_team_close(cascade_team *pool)
    int cascade_team_closed(cascade_team *pool)
    int cascade_helper_join(cascade_helper *helper)
    void cascade_helper_leave(cascade_helper *helper)
    void cascade_helper_help(cascade_team *pool, cascade_helper *helper, int64_t microseconds)
    int cascade_helper_sleeps(cascade_team *pool, cascade_helper *helper)
    int cascade_helper_wakes(cascade_helper *helper)

cdef enum:
    MAX_THREADS = 1 << 10
    # how long a helper waits awake for the next list (microseconds): longer than what Python does between two of them
    AWAKE = 500


cdef class ThreadPool:
    """Threads for one call at a time, and the memory of each; it grows to the largest call and is then reused."""
    cdef cascade_team pool
    cdef cascade_helper *helpers
    cdef PyThread_type_lock *bells  # a helper sleeps on its own
    cdef void **blocks  # what was allocated for each thread, the leader's first
    cdef size_t size
    cdef float *windows
    cdef size_t room  # floats there
    cdef list spares  # pools of one thread, for calls that come while this one is led
    cdef readonly size_t threads

    def __cinit__(self, threads=1):
        self.threads = whole("threads", threads, 1, MAX_THREADS)
        self.spares = []
        self.helpers = <cascade_helper *>calloc(self.threads, sizeof(cascade_helper))
        self.bells = <PyThread_type_lock *>calloc(self.threads, sizeof(PyThread_type_lock))
        self.blocks = <void **>calloc(self.threads, sizeof(void *))
        if self.helpers == NULL or self.bells == NULL or self.blocks == NULL:
            raise MemoryError("no memory for a pool")
        for i in range(self.threads - 1):
            self.bells[<size_t>i] = PyThread_allocate_lock()
            if self.bells[<size_t>i] == NULL:
                raise MemoryError("no lock for a pool")
            PyThread_acquire_lock(self.bells[<size_t>i], 1)

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.threads):
            if self.blocks != NULL:
                free(self.blocks[i])
            if self.bells != NULL and self.bells[i] != NULL:
                PyThread_free_lock(self.bells[i])
        free(self.helpers)
        free(self.bells)
        free(self.blocks)
        free(self.windows)

    @property
    def nbytes(self):
        return self.size * self.threads + self.room * sizeof(float) + sum(spare.nbytes for spare in list(self.spares))

    def help(self, index):
        """Works along as one of the helpers until the pool is closed."""
        if self.threads == 1:
            raise ValueError(f"index: expected a helper, got {index!r} of a pool of one thread, which has none")
        cdef size_t i = whole("index", index, 0, self.threads - 2)
        cdef cascade_helper *helper = &self.helpers[i]
        if not cascade_helper_join(helper):
            raise RuntimeError(f"index: another thread is helper {i}")
        with nogil:
            while not cascade_team_closed(&self.pool):
                cascade_helper_help(&self.pool, helper, AWAKE)
                if cascade_helper_sleeps(&self.pool, helper):
                    PyThread_acquire_lock(self.bells[i], 1)
        cascade_helper_leave(helper)

    def close(self):
        """Ends the helpers; the leader can go on alone."""
        cascade_team_close(&self.pool)
        self.ring(self.threads - 1)

    def wake(self):
        """Wakes helpers that sleep, for a list that will come in a moment."""
        self.ring(self.threads - 1)

    cdef void ring(self, size_t count) noexcept nogil:
        cdef size_t i
        for i in range(min(count, self.threads - 1)):
            if cascade_helper_wakes(&self.helpers[i]):
                PyThread_release_lock(self.bells[i])

    cdef int reserve(self, size_t size) except -1:
        """Memory for each thread, zeroed when it is new."""
        cdef size_t i
        if self.size >= size:
            return 0
        if size > (<size_t>1 << 40):
            raise MemoryError(f"a workspace of {size} bytes is beyond every sane image")
        self.size = 0
        for i in range(self.threads):
            free(self.blocks[i])
            self.blocks[i] = cascade_memory(size + 64)
            if self.blocks[i] == NULL:
                raise MemoryError(f"no memory for a workspace of {size} bytes")
            if i:
                self.helpers[i - 1].workspace = self.memory(i)
        self.size = size
        return 0

    cdef void *memory(self, size_t i) noexcept nogil:
        """The i-th thread's, on a boundary of 64 bytes."""
        return <void *>((<uintptr_t>self.blocks[i] + 63) & ~<uintptr_t>63)

    cdef float *at_least(self, size_t floats) except NULL:
        """Room for what is found, as large as ever wanted; not what was in it."""
        if self.room < floats:
            free(self.windows)
            self.room = 0
            self.windows = <float *>malloc(floats * sizeof(float))
            if self.windows == NULL:
                raise MemoryError(f"no memory for {floats} numbers")
            self.room = floats
        return self.windows

    cdef ThreadPool take(self):
        """This pool for one call, or one of one thread while another call has it; to be given back."""
        cdef ThreadPool pool = self
        if not cascade_team_lead(&pool.pool):
            try:
                pool = self.spares.pop()
            except IndexError:
                pool = ThreadPool()
            cascade_team_lead(&pool.pool)
        return pool

    cdef int give(self, ThreadPool pool) except -1:
        cascade_team_leave(&pool.pool)
        # more callers than threads leave no more memory behind
        if pool is not self and <size_t>len(self.spares) < self.threads - 1:
            self.spares.append(pool)
        return 0

    cdef int do(self, cascade_work work, void *context, size_t count, size_t size) except -1:
        """All items of a list, as ``run`` does, by whoever is free."""
        cdef ThreadPool pool = self.take()
        try:
            pool.run(work, context, count, size)
        finally:
            self.give(pool)
        return 0

    cdef int run(self, cascade_work work, void *context, size_t count, size_t size) except -1:
        """All items of a list, with a workspace of ``size`` bytes for each thread, without the GIL."""
        cdef size_t item
        self.reserve(size)
        with nogil:
            if self.threads == 1 or count < 2:
                for item in range(count):
                    work(context, item, self.memory(0))
            else:
                cascade_team_open(&self.pool, work, context, count)
                self.ring(count - 1)
                cascade_team_finish(&self.pool, self.memory(0))
        return 0
