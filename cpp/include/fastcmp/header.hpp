#pragma once

// The text header of a `.bin` tensor file:
//
//   $Version=1.0 LF  $Object.Count=n LF  $Object.Length=total LF
//   *( name=value LF )                        user attributes: format, dtype, dims, ...
//   *( $Object.name=offset,length LF )        offsets count from the first byte after the header
//   $End=1 LF                                 also $END=1
//   payload                                   total bytes
//
// A dialect has no $Object lines at all; its payload is the rest of the file.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fastcmp/dtype_codes.hpp"

namespace fastcmp {

inline constexpr std::size_t kFirstRead = 4096;
inline constexpr std::size_t kMaxHeader = 65536;
inline constexpr std::size_t kMaxLine = 4096;
inline constexpr std::size_t kMaxLines = 256;
inline constexpr std::size_t kMaxAxes = 64;
inline constexpr std::int64_t kFormatNd = 2;

/// What the header of one record says. Offsets count from the first byte of the record.
struct Header {
    DtypeCode dtype{};
    std::int64_t format = kFormatNd;
    std::vector<std::int64_t> dims;
    std::uint64_t element_count = 0;
    std::uint64_t header_bytes = 0;
    std::uint64_t payload_bytes = 0;  ///< $Object.Length, or the rest of the file
    std::uint64_t data_offset = 0;    ///< of the tensor's own bytes
    std::uint64_t nbytes = 0;         ///< of the tensor's own bytes
    bool has_object = false;          ///< a $Object line, or the dialect without them
    bool payload_is_rest = false;
    bool packed = false;              ///< set by check_payload
    std::string alias;                ///< data=: the tensor that holds the bytes instead
    std::string statistics;           ///< max=, min=, mean=, l2norm=, as written
    std::string bad_format;           ///< the value of format= if it is no integer
    std::vector<std::string> warnings;
};

/// Length of the header with its $End line; nothing if `head` ends before it and `is_whole` is false.
/// Throws ReadError: E_BAD_MAGIC, E_NO_END.
std::optional<std::size_t> find_header_end(std::span<const std::byte> head, bool is_whole);

/// Parse `header` (up to and with its $End line) of a record that `available` bytes of file remain for.
/// Throws the first error in the documented order, up to and with E_TRUNCATED.
Header parse_header(std::span<const std::byte> header, std::uint64_t available);

/// The rules that compare payload and dims; what comes after the multi-record rule. Sets `packed`.
/// Throws E_ALIAS, E_STATS_ONLY, E_NO_DATA, E_SIZE_SHORT, E_SIZE_LONG, E_SIZE, then E_FORMAT.
void check_payload(Header& header);

}  // namespace fastcmp
