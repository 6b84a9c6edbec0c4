// The library's one state in a process, and the guard under which each call of the host runs.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "counters.hpp"
#include "examples.hpp"
#include "registry.hpp"
#include "settings.hpp"
#include "teller.hpp"
#include "writer.hpp"

namespace fastcmp::preload {

double seconds_now();  // since 1970

class Process {
public:
    Process();
    // The one of this process, made at the first call. Never destroyed: hooks may be called while the process ends.
    static Process& get();
    // Null where none was made.
    static Process* existing();

    // Counts a loss and tells its cause once: `where: what`.
    void lose(Count count, std::string_view where, std::string_view what);
    void count_call(Call call);
    // Gives a job its place among those of the same path; false where it must not be written.
    bool admit(Job& job);
    void save(std::unique_ptr<Job> job, const Source& source);

    // The lists decide, and the environment does not.
    bool is_list_asked();

    // On the host's time: a stalled disk holds it up for a moment only.
    void show_heartbeat(bool is_ended);
    std::string last_refusal() const;
    void end();
    void forked();

    pid_t pid;
    pid_t parent_pid = 0;  // of the process that this one was forked from, with the library in it
    const double started;  // seconds since 1970
    const Settings settings;
    Counters counters;
    Teller teller;
    Registry registry;
    Examples unregistered;
    Writer* writer;
    std::atomic<bool> is_followed{false};

private:
    friend struct ForkHandlers;
    Writer* make_writer();
    void ended(const Job& job, Outcome outcome) noexcept;
    void free_name(const Job& job);  // of a tensor that was not written
    void explain(Count count, std::string_view where, std::string_view what) noexcept;
    void write_heartbeat(bool is_ended) noexcept;

    // Guards the making of the one of this process; a fork waits for it.
    static std::mutex making_;

    mutable std::mutex mutex_;
    std::string last_refusal_;
    std::unordered_map<std::uint64_t, std::uint32_t> saved_paths_;  // hashes of root and path: how often each was accepted
    std::atomic<std::uint64_t> accepted_bytes_{0};
    std::atomic<bool> is_full_{false};  // once the limit is reached nothing more is saved, so that what is there has no gaps
    std::atomic<bool> is_writing_heartbeat_{false};
};

// While it lives: the thread is not cancelled in the middle, its errno stays, and a signal handler that calls in again is sent away.
class CallGuard {
public:
    CallGuard() noexcept : is_outermost_{!is_inside_}, errno_{errno} {
        if (is_outermost_) {
            is_inside_ = true;
            ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
        }
    }
    ~CallGuard() {
        if (is_outermost_) {
            ::pthread_setcancelstate(cancel_state_, nullptr);
            is_inside_ = false;
        }
        errno = errno_;
    }
    CallGuard(const CallGuard&) = delete;
    CallGuard& operator=(const CallGuard&) = delete;
    bool is_outermost() const { return is_outermost_; }
    static bool is_inside() { return is_inside_; }

private:
    // Named here as well: every file that reads it is to do so without a call that may allocate.
    __attribute__((visibility("hidden"), tls_model("initial-exec"))) static constinit thread_local bool is_inside_;
    bool is_outermost_;
    int errno_;
    int cancel_state_ = 0;
};

// Runs a call of the host; whatever goes wrong, `otherwise` is its answer.
template <typename Answer, typename Work>
Answer guarded(Answer otherwise, Work work) noexcept {
    const CallGuard guard;
    try {
        if (!guard.is_outermost()) {
            if (auto* process = Process::existing(); process != nullptr) {
                process->counters.add(Count::reentered);
            }
            return otherwise;
        }
        return work(Process::get());
    } catch (...) {
        if (auto* process = Process::existing(); process != nullptr) {
            process->counters.add(Count::internal_error);
        }
        return otherwise;
    }
}

}  // namespace fastcmp::preload
