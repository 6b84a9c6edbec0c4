// A list of registered tensors as a file: checked when it is opened, and read again where it has grown.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "descriptor.hpp"

namespace fastcmp::preload {

constexpr std::size_t kMaxLine = 4096;
constexpr std::int64_t kLookEveryMs = 10;

class ListFile {
public:
    using Refuse = std::function<void(std::string_view why)>;
    using Line = std::function<void(std::string_view line)>;

    explicit ListFile(std::string path) : path_{std::move(path)} {}

    const std::string& path() const { return path_; }
    bool is_open() const { return file_.is_open(); }

    // 0 or an errno. One that others control is refused for good.
    int open(const Refuse& refuse);
    // It has grown, was replaced, or has come into being. One that is not there is looked for every kLookEveryMs only: by its path, which
    // costs more than all else that a question does.
    bool has_news() const;
    // Reads what is new, whole lines only.
    void read_news(const Refuse& refuse, const Line& line);

private:
    bool has_appeared() const;

    std::string path_;
    Descriptor file_;
    off_t consumed_ = 0;       // bytes of whole lines
    off_t seen_ = 0;           // bytes read, a last line without its line feed included
    bool is_refused_ = false;  // for good
    bool is_told_ = false;     // that it could not be opened, for now
    // Of the clock, when it was looked for in vain; by any thread.
    alignas(std::atomic_ref<std::int64_t>::required_alignment) mutable std::int64_t missed_ms_ = -kLookEveryMs;
};

}  // namespace fastcmp::preload
