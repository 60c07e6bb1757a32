# The thread pool of _native.pyx: threads that share the work of one call, and the memory of each.

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)

cdef enum:
    MAX_THREADS = 1 << 10
    # how long an idle worker spins before it sleeps (microseconds): longer than Python takes between two loops
    IDLE_MICROSECONDS = 500


cdef class ThreadPool:
    """Threads for one call at a time, and the memory of each; it grows to the largest call and is then reused."""
    cdef cascade_pool pool
    cdef cascade_worker *workers
    cdef PyThread_type_lock *semaphores  # one for each worker to sleep on
    cdef void **blocks  # the memory of each thread, the caller's first
    cdef size_t size  # bytes in each
    cdef float *found
    cdef size_t capacity  # floats in `found`
    cdef list spares  # pools of one thread, for calls that come while this one is in use
    cdef readonly size_t threads

    def __cinit__(self, threads=1):
        self.threads = integer("threads", threads, 1, MAX_THREADS)
        self.spares = []
        self.workers = <cascade_worker *>calloc(self.threads, sizeof(cascade_worker))
        self.semaphores = <PyThread_type_lock *>calloc(self.threads, sizeof(PyThread_type_lock))
        self.blocks = <void **>calloc(self.threads, sizeof(void *))
        if self.workers == NULL or self.semaphores == NULL or self.blocks == NULL:
            raise MemoryError("no memory for a pool")
        for i in range(self.threads - 1):
            self.semaphores[<size_t>i] = PyThread_allocate_lock()
            if self.semaphores[<size_t>i] == NULL:
                raise MemoryError("no lock for a pool")
            PyThread_acquire_lock(self.semaphores[<size_t>i], 1)

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.threads):
            if self.blocks != NULL:
                free(self.blocks[i])
            if self.semaphores != NULL and self.semaphores[i] != NULL:
                PyThread_free_lock(self.semaphores[i])
        free(self.workers)
        free(self.semaphores)
        free(self.blocks)
        free(self.found)

    @property
    def nbytes(self):
        return self.size * self.threads + self.capacity * sizeof(float) + sum(spare.nbytes for spare in list(self.spares))

    def work(self, index):
        """Runs as worker ``index`` until the pool is closed."""
        if self.threads == 1:
            raise ValueError(f"index: expected a worker, got {index!r} of a pool of one thread, which has none")
        cdef size_t i = integer("index", index, 0, self.threads - 2)
        cdef cascade_worker *worker = &self.workers[i]
        if not cascade_worker_attach(worker):
            raise RuntimeError(f"index: another thread is worker {i}")
        with nogil:
            while not cascade_pool_closed(&self.pool):
                cascade_worker_run(&self.pool, worker, IDLE_MICROSECONDS)
                if cascade_worker_may_sleep(&self.pool, worker):
                    PyThread_acquire_lock(self.semaphores[i], 1)
        cascade_worker_detach(worker)

    def close(self):
        """Ends the workers; the pool still serves calls, on the calling thread alone."""
        cascade_pool_close(&self.pool)
        self.wake_workers(self.threads - 1)

    def wake(self):
        """Wakes sleeping workers, for a call that will come in a moment."""
        self.wake_workers(self.threads - 1)

    cdef void wake_workers(self, size_t count) noexcept nogil:
        cdef size_t i
        for i in range(min(count, self.threads - 1)):
            if cascade_worker_needs_wake(&self.workers[i]):
                PyThread_release_lock(self.semaphores[i])

    cdef int reserve(self, size_t size) except -1:
        """Sees to it that each thread has ``size`` bytes of memory, zeroed when they are new."""
        cdef size_t i
        if self.size >= size:
            return 0
        if size > CASCADE_MAX_WORKSPACE:
            raise MemoryError(f"a workspace of {size} bytes is beyond every sane image")
        self.size = 0
        for i in range(self.threads):
            free(self.blocks[i])
            self.blocks[i] = cascade_alloc_zeroed(size + 64)
            if self.blocks[i] == NULL:
                raise MemoryError(f"no memory for a workspace of {size} bytes")
            if i:
                self.workers[i - 1].workspace = self.memory(i)
        self.size = size
        return 0

    cdef void *memory(self, size_t i) noexcept nogil:
        """The memory of the i-th thread, on a boundary of 64 bytes."""
        return <void *>((<uintptr_t>self.blocks[i] + 63) & ~<uintptr_t>63)

    cdef float *results(self, size_t floats) except NULL:
        """Room for the results of a scan, which grows and is never cleared."""
        if self.capacity < floats:
            free(self.found)
            self.capacity = 0
            self.found = <float *>malloc(floats * sizeof(float))
            if self.found == NULL:
                raise MemoryError(f"no memory for {floats} numbers")
            self.capacity = floats
        return self.found

    cdef ThreadPool acquire(self):
        """Returns this pool for one call, or one of one thread while another call uses it; to be released."""
        cdef ThreadPool pool = self
        if not cascade_pool_acquire(&pool.pool):
            try:
                pool = self.spares.pop()
            except IndexError:
                pool = ThreadPool()
            cascade_pool_acquire(&pool.pool)
        return pool

    cdef int release(self, ThreadPool pool) except -1:
        cascade_pool_release(&pool.pool)
        # many callers leave no more spare pools behind than there are threads
        if pool is not self and <size_t>len(self.spares) < self.threads - 1:
            self.spares.append(pool)
        return 0

    cdef int parallel_for(self, cascade_loop_body body, void *context, size_t count, size_t size) except -1:
        """Runs a loop of ``count`` iterations on this pool, or on a spare one while another call uses it."""
        cdef ThreadPool pool = self.acquire()
        try:
            pool.run(body, context, count, size)
        finally:
            self.release(pool)
        return 0

    cdef int run(self, cascade_loop_body body, void *context, size_t count, size_t size) except -1:
        """Runs a loop on this pool, which must be acquired, with ``size`` bytes of workspace per thread, without the GIL.

        Raises what a signal's handler raises, as that of Ctrl-C does; then some iterations are missing.
        """
        self.reserve(size)
        with nogil:
            if self.threads == 1 or count < 2:
                cascade_for(body, context, count, self.memory(0), check_signals)
            else:
                cascade_parallel_for_begin(&self.pool, body, context, count)
                self.wake_workers(count - 1)
                cascade_parallel_for_end(&self.pool, self.memory(0), check_signals)
        return 0
