#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace fastcmp {

/// One aclDataType that can be read. fastcmp/dtypes.py says what the numbers mean; a test holds the two tables together.
struct DtypeCode {
    std::int64_t code;
    std::uint32_t bits;
    std::string_view name;

    [[nodiscard]] constexpr bool is_sub_byte() const noexcept { return bits % 8 != 0; }
    /// Bytes of one element that does not share its byte with another.
    [[nodiscard]] constexpr std::uint64_t unpacked_bytes() const noexcept { return (bits + 7) / 8; }
};

std::span<const DtypeCode> dtype_codes() noexcept;
std::optional<DtypeCode> find_dtype(std::int64_t code) noexcept;

}  // namespace fastcmp
