#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fastcmp/error.hpp"
#include "fastcmp/file.hpp"
#include "fastcmp/header.hpp"

namespace fastcmp {

/// What to do with several records in one file.
enum class MultiRecord { error, first, last };

std::optional<MultiRecord> parse_multi_record(std::string_view word) noexcept;

/// One tensor of one file; offsets count from the first byte of the file.
struct BinTensor {
    std::int64_t dtype_code = 0;
    std::int64_t format = kFormatNd;
    std::vector<std::int64_t> dims;
    std::uint64_t data_offset = 0;
    std::uint64_t nbytes = 0;
    bool packed = false;
    std::vector<std::string> warnings;
    FileIdentity identity;
    std::int64_t kept_at = Room::kNotKept;
};

using ScanResult = std::variant<BinTensor, ReadError>;

/// Throws ReadError.
BinTensor scan_file(const std::string& path, MultiRecord policy, const Roots& roots, Room* room = nullptr);

/// One result per path, in order. A fault of one file is its own result and never an exception.
std::vector<ScanResult> scan_files(std::span<const std::string> paths, MultiRecord policy, const Roots& roots, Room* room = nullptr);

}  // namespace fastcmp
