#include "bounded.hpp"

#include <csignal>
#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>

namespace fastcmp::preload {
namespace {

class AllSignalsBlocked {
public:
    AllSignalsBlocked() {
        sigset_t all{};
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    AllSignalsBlocked(const AllSignalsBlocked&) = delete;
    AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

}  // namespace

std::thread start_thread(std::function<void()> work) {
    const AllSignalsBlocked inherited;
    try {
        return std::thread{std::move(work)};
    } catch (const std::system_error&) {
        return {};
    }
}

void do_within(double seconds, const std::function<void()>& work) {
    struct Progress {
        std::mutex mutex;
        std::condition_variable ended;
        bool is_done = false;
    };
    const auto progress = std::make_shared<Progress>();
    auto thread = start_thread([progress, work] {
        work();
        const std::lock_guard lock{progress->mutex};
        progress->is_done = true;
        progress->ended.notify_all();
    });
    if (!thread.joinable()) {
        work();
        return;
    }
    std::unique_lock lock{progress->mutex};
    const bool is_done = progress->ended.wait_for(lock, std::chrono::duration<double>{seconds}, [&] { return progress->is_done; });
    lock.unlock();
    if (is_done) {
        thread.join();
    } else {
        thread.detach();
    }
}

}  // namespace fastcmp::preload
