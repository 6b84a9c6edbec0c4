#pragma once

// Lines, keys and integers of a header; what they mean is the matter of header.cpp.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace fastcmp {

struct Attribute {
    std::string_view key;
    std::string_view value;
    std::size_t key_offset;

    [[nodiscard]] std::int64_t at_key() const { return static_cast<std::int64_t>(key_offset); }
    [[nodiscard]] std::int64_t at_value() const { return static_cast<std::int64_t>(key_offset + key.size() + 1); }
};

using Attributes = std::vector<Attribute>;

/// The lines of a header but its last, the $End line. Views into `header`. Throws E_BAD_MAGIC for a line without a key.
Attributes split_lines(std::span<const std::byte> header);

/// nullptr if there is no such key.
const Attribute* find(const Attributes& attributes, std::string_view key);

/// `^-?[0-9]{1,19}$` and inside int64; no blanks, no plus sign, no digits but ASCII.
std::optional<std::int64_t> parse_integer(std::string_view text);

}  // namespace fastcmp
