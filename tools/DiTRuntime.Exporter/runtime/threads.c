// The pool: threads that stay, and take the tasks of one job after another. Running a job allocates nothing.
#include "internal.h"

#include <signal.h>

// The next operation of a forward pass follows within microseconds: a waiting thread looks out for it before it sleeps.
#define DIT_SPINS 4000

typedef struct dit_worker {
    dit_pool* pool;
    uint8_t* scratch;
    pthread_t thread;
} dit_worker;

struct dit_pool {
    dit_context* context;
    uint32_t threads;      // the caller's included
    uint8_t* scratch;      // [threads, scratch_bytes rounded up to whole pages]
    dit_worker* workers;   // [threads - 1]
    uint32_t started;      // of the workers
    pthread_mutex_t gate;  // of generation and stopping, for those who sleep
    pthread_cond_t work, idle;
    uint32_t generation;  // counts the jobs
    uint32_t stopping;
    // The job.
    dit_task* task;
    void* job;
    uint32_t count, next;
    uint32_t busy;  // workers that are not done with it
};

static inline void dit_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void dit_pool_drain(dit_pool* pool, uint8_t* scratch) {
    while (!dit_is_cancelled(pool->context)) {
        const uint32_t task = __atomic_fetch_add(&pool->next, 1, __ATOMIC_RELAXED);
        if (task >= pool->count) return;
        pool->task(pool->job, task, scratch);
    }
}

// Waits for a job that is not `seen`; false where there will be none.
static bool dit_pool_wait(dit_pool* pool, uint32_t seen) {
    for (int spin = 0; spin < DIT_SPINS && __atomic_load_n(&pool->generation, __ATOMIC_ACQUIRE) == seen; spin++) dit_pause();
    if (__atomic_load_n(&pool->generation, __ATOMIC_ACQUIRE) == seen) {
        pthread_mutex_lock(&pool->gate);
        while (pool->generation == seen) pthread_cond_wait(&pool->work, &pool->gate);
        pthread_mutex_unlock(&pool->gate);
    }

    return __atomic_load_n(&pool->stopping, __ATOMIC_ACQUIRE) == 0;
}

static void* dit_worker_main(void* argument) {
    const dit_worker* worker = argument;
    dit_pool* pool = worker->pool;
    // Jobs follow one another only when all workers are done, so none is missed.
    for (uint32_t seen = 0; dit_pool_wait(pool, seen); seen++) {
        dit_pool_drain(pool, worker->scratch);
        if (__atomic_sub_fetch(&pool->busy, 1, __ATOMIC_ACQ_REL) != 0) continue;
        pthread_mutex_lock(&pool->gate);
        pthread_cond_signal(&pool->idle);
        pthread_mutex_unlock(&pool->gate);
    }

    return NULL;
}

// Hands the workers a new generation: a job, or the end.
static void dit_pool_announce(dit_pool* pool) {
    pthread_mutex_lock(&pool->gate);
    __atomic_store_n(&pool->generation, pool->generation + 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->gate);
}

static void dit_pool_join(dit_pool* pool) {
    for (int spin = 0; spin < DIT_SPINS && __atomic_load_n(&pool->busy, __ATOMIC_ACQUIRE) != 0; spin++) dit_pause();
    if (__atomic_load_n(&pool->busy, __ATOMIC_ACQUIRE) == 0) return;
    pthread_mutex_lock(&pool->gate);
    while (__atomic_load_n(&pool->busy, __ATOMIC_ACQUIRE) != 0) pthread_cond_wait(&pool->idle, &pool->gate);
    pthread_mutex_unlock(&pool->gate);
}

static dit_status dit_pool_run(dit_context* c, dit_pool* pool, dit_task* task, void* job, uint32_t count) {
    pool->task = task;
    pool->job = job;
    pool->count = count;
    pool->next = 0;
    if (count > 1 && pool->threads > 1) {
        pool->busy = pool->threads - 1;
        dit_pool_announce(pool);
        dit_pool_drain(pool, pool->scratch);
        dit_pool_join(pool);
    } else {
        dit_pool_drain(pool, pool->scratch);
    }

    return dit_is_cancelled(c) ? dit_fail(c, DIT_CANCELLED, "cancelled") : DIT_OK;
}

static dit_status dit_pool_start(dit_context* c, dit_pool* pool, size_t stride) {
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    const bool masked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    int problem = 0;
    while (problem == 0 && pool->started < pool->threads - 1) {
        dit_worker* worker = &pool->workers[pool->started];
        worker->pool = pool;
        worker->scratch = pool->scratch + (pool->started + 1) * stride;
        problem = pthread_create(&worker->thread, NULL, dit_worker_main, worker);
        if (problem == 0) pool->started++;
    }

    if (masked) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return problem == 0 ? DIT_OK
                        : dit_fail(c, DIT_ERROR, "thread %u of %u cannot be started (error %d); ask for fewer threads", pool->started + 2, pool->threads, problem);
}

// What threads wait by.
static dit_status dit_pool_open_gate(dit_context* c, dit_pool* pool) {
    if (pthread_mutex_init(&pool->gate, NULL) == 0) {
        if (pthread_cond_init(&pool->work, NULL) == 0) {
            if (pthread_cond_init(&pool->idle, NULL) == 0) return DIT_OK;
            pthread_cond_destroy(&pool->work);
        }

        pthread_mutex_destroy(&pool->gate);
    }

    return dit_fail(c, DIT_ERROR, "the system has no mutex left for the threads");
}

static dit_status dit_pool_open(dit_context* c, uint32_t threads, size_t scratch_bytes, dit_pool** opened) {
    *opened = NULL;
    const size_t page = 4096;
    if (scratch_bytes > SIZE_MAX / 2 / threads - page) return dit_no_memory(c, scratch_bytes, "scratch of the threads");
    const size_t stride = (scratch_bytes + page - 1) / page * page;
    dit_pool* pool = dit_allocate(c, sizeof *pool);
    if (pool == NULL) return dit_no_memory(c, sizeof *pool, "the threads");
    pool->context = c;
    pool->threads = threads;
    pool->scratch = dit_allocate(c, threads * stride);
    pool->workers = threads > 1 ? dit_allocate(c, (threads - 1) * sizeof(dit_worker)) : NULL;
    dit_status status = DIT_OK;
    if (pool->scratch == NULL || (threads > 1 && pool->workers == NULL)) status = dit_no_memory(c, threads * (stride + sizeof(dit_worker)), "scratch of the threads");
    else if (threads > 1) status = dit_pool_open_gate(c, pool);
    if (status != DIT_OK) {
        dit_release(c, pool->workers);
        dit_release(c, pool->scratch);
        dit_release(c, pool);
        return status;
    }

    if (threads > 1) status = dit_pool_start(c, pool, stride);
    if (status == DIT_OK) *opened = pool;
    else dit_pool_close(c, pool);
    return status;
}

static void dit_pool_close(dit_context* c, dit_pool* pool) {
    if (pool == NULL) return;
    if (pool->threads > 1) {
        __atomic_store_n(&pool->stopping, 1, __ATOMIC_RELEASE);
        dit_pool_announce(pool);
        for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->idle);
        pthread_cond_destroy(&pool->work);
        pthread_mutex_destroy(&pool->gate);
    }

    dit_release(c, pool->workers);
    dit_release(c, pool->scratch);
    dit_release(c, pool);
}
