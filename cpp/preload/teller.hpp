// Lines on the host's stderr: one for each cause.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace fastcmp::preload {

class Teller {
public:
    // `cause` tells causes apart; the text is what the user reads.
    void once(std::string_view cause, std::string_view text);
    // Nothing is said where descriptor 2 is no longer what it was when the library was loaded: the host may have closed it and opened a
    // file of its own. A line that nobody takes off a full pipe is dropped.
    void say(std::string_view text);
    std::mutex& mutex() { return mutex_; }

private:
    std::mutex mutex_;
    std::set<std::string, std::less<>> told_;
    std::atomic<bool> is_unheard_{false};  // a line was dropped: the next ones are not waited for
};

}  // namespace fastcmp::preload
