#include "fork.hpp"

#include <pthread.h>

#include <mutex>
#include <new>

#include "libraries.hpp"
#include "process.hpp"
#include "shared_lock.hpp"

namespace fastcmp::preload {

// What another thread may hold while this one forks is held by this one then, so that it is whole in the child.
// Of these locks no thread ever takes one while it holds another, but for `making_`, which is taken first.
struct ForkHandlers {
    // False where the thread that forks is inside a hook itself, by a signal handler: it may hold one.
    __attribute__((visibility("hidden"))) static thread_local bool is_held;

    static void prepare() {
        is_held = !CallGuard::is_inside();
        if (!is_held) {
            return;
        }
        Process::making_.lock();
        loaded_libraries_lock().lock();
        if (auto* process = Process::existing(); process != nullptr) {
            process->mutex_.lock();
            process->registry.mutex().lock();
            process->writer->mutex().lock();
            process->teller.mutex().lock();
        }
    }
    static void parent() {
        auto* process = Process::existing();
        if (is_held && process != nullptr) {
            process->registry.mutex().unlock();
            release(&process->writer->mutex());
        } else if (is_held) {
            release(nullptr);
        }
    }
    static void child() {
        note_fork();
        if (!is_held) {
            renew();
        }
        if (auto* process = Process::existing(); process != nullptr) {
            auto* writing = &process->writer->mutex();
            process->forked();
            // Not unlocked: it knows its holder by a thread number, and in a child that is another.
            new (&process->registry.mutex()) SharedLock;
            if (is_held) {
                release(writing);
            }
        } else if (is_held) {
            release(nullptr);
        }
    }
    // The lock of the writer that was there when they were taken: in a child there is another by now.
    static void release(std::mutex* writing) {
        if (auto* process = Process::existing(); process != nullptr && writing != nullptr) {
            process->teller.mutex().unlock();
            writing->unlock();
            process->mutex_.unlock();
        }
        loaded_libraries_lock().unlock();
        Process::making_.unlock();
    }
    // In the child of a thread that may hold them itself.
    static void renew() {
        new (&Process::making_) std::mutex;
        new (&loaded_libraries_lock()) std::mutex;
        if (auto* process = Process::existing(); process != nullptr) {
            new (&process->teller.mutex()) std::mutex;
            new (&process->mutex_) std::mutex;
        }
    }
};

thread_local bool ForkHandlers::is_held __attribute__((tls_model("initial-exec"))) = false;

void handle_forks() noexcept { ::pthread_atfork(ForkHandlers::prepare, ForkHandlers::parent, ForkHandlers::child); }

}  // namespace fastcmp::preload
