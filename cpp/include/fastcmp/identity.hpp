#pragma once

#include <cstdint>

namespace fastcmp {

/// Who a file was when it was opened.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t mtime_ns = 0;

    bool operator==(const FileIdentity&) const = default;
};

}  // namespace fastcmp
