#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace fastcmp {

/// Why one file cannot be used. `code` is one of the closed list in fastcmp/errors.py.
class ReadError : public std::exception {
public:
    static constexpr std::int64_t kNoOffset = -1;

    ReadError(const char* code, std::int64_t offset, std::string reason)
        : code_{code}, offset_{offset}, reason_{std::move(reason)} {}

    [[nodiscard]] const char* code() const noexcept { return code_; }
    /// Byte of the file that the reason is about, or kNoOffset.
    [[nodiscard]] std::int64_t offset() const noexcept { return offset_; }
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    [[nodiscard]] const char* what() const noexcept override { return reason_.c_str(); }

    /// The same error in a record that begins at byte `base` of its file.
    [[nodiscard]] ReadError at(std::uint64_t base) const {
        return {code_, offset_ == kNoOffset ? kNoOffset : offset_ + static_cast<std::int64_t>(base), reason_};
    }

private:
    const char* code_;
    std::int64_t offset_;
    std::string reason_;
};

/// Foreign bytes for a message: quoted, printable ASCII only, cut after 60 bytes.
std::string quote(std::string_view text);

}  // namespace fastcmp
