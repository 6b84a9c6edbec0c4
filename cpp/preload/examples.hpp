// What the library asked for and nobody had registered: a few examples, for whoever looks for a mistake in the registered paths.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fastcmp::preload {

class Examples {
public:
    // Kept if no kept one differs from it in its numbers only. After kMaxAdded calls none is looked at any more: they are all alike then.
    void add(std::string_view path) {
        if (added_.load(std::memory_order_relaxed) >= kMaxAdded || added_.fetch_add(1, std::memory_order_relaxed) >= kMaxAdded) {
            return;
        }
        path = path.substr(0, kMaxBytes);
        std::string shape;
        for (const char c : path) {
            const bool is_digit = c >= '0' && c <= '9';
            if (!is_digit || shape.empty() || shape.back() != '*') {
                shape += is_digit ? '*' : c;
            }
        }
        const std::lock_guard lock{mutex_};
        if (kept_.size() < kMaxKept) {
            kept_.try_emplace(std::move(shape), path);
        }
    }

    std::vector<std::string> kept() const {
        const std::lock_guard lock{mutex_};
        std::vector<std::string> paths;
        for (const auto& [shape, path] : kept_) {
            paths.push_back(path);
        }
        return paths;
    }

private:
    static constexpr unsigned kMaxAdded = 4096;
    static constexpr std::size_t kMaxKept = 32;
    static constexpr std::size_t kMaxBytes = 512;

    std::atomic<unsigned> added_{0};
    mutable std::mutex mutex_;
    std::map<std::string, std::string> kept_;
};

}  // namespace fastcmp::preload
