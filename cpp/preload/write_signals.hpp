// A write past RLIMIT_FSIZE or into a pipe without a reader raises a signal that ends the process, unless somebody handles it.
#pragma once

#include <csignal>
#include <ctime>

namespace fastcmp::preload {

// While it lives, such a write of this thread is an error and nothing else.
class WriteSignals {
public:
    WriteSignals() noexcept {
        ::sigemptyset(&ours_);
        for (const int signal : {SIGXFSZ, SIGPIPE}) {
            ::sigaddset(&ours_, signal);
        }
        sigset_t pending;
        ::sigpending(&pending);
        ::pthread_sigmask(SIG_BLOCK, &ours_, &before_);
        for (const int signal : {SIGXFSZ, SIGPIPE}) {
            if (::sigismember(&pending, signal) == 1) {
                ::sigdelset(&ours_, signal);  // the host's, and it stays
            }
        }
    }
    ~WriteSignals() {
        constexpr timespec kNow{0, 0};
        while (::sigtimedwait(&ours_, nullptr, &kNow) > 0) {
        }
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    WriteSignals(const WriteSignals&) = delete;
    WriteSignals& operator=(const WriteSignals&) = delete;

private:
    sigset_t ours_;  // those that only we can have raised
    sigset_t before_;
};

}  // namespace fastcmp::preload
