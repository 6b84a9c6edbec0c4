#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fastcmp/identity.hpp"

namespace fastcmp {

/// What a header says about a tensor that the file does not hold.
struct Description {
    std::int64_t dtype_code = 0;
    std::vector<std::int64_t> dims;
    std::string statistics;  ///< max=, min=, mean=, l2norm=, as written; or data= and the tensor that is named; or nothing
    FileIdentity identity;   ///< of the file that says so
};

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
        auto moved = *this;
        moved.offset_ = offset_ == kNoOffset ? kNoOffset : offset_ + static_cast<std::int64_t>(base);
        return moved;
    }

    /// The same error of a file that describes its tensor all the same.
    [[nodiscard]] ReadError describing(Description description) const {
        auto described = *this;
        described.description_ = std::move(description);
        return described;
    }
    /// The same error of this file.
    [[nodiscard]] ReadError of(const FileIdentity& identity) const {
        auto known = *this;
        if (known.description_) {
            known.description_->identity = identity;
        }
        return known;
    }
    [[nodiscard]] const std::optional<Description>& description() const noexcept { return description_; }

private:
    const char* code_;
    std::int64_t offset_;
    std::string reason_;
    std::optional<Description> description_;
};

/// Foreign bytes for a message: quoted, printable ASCII only, cut after 60 bytes.
std::string quote(std::string_view text);

/// One result per path, in order: what `work` returns or the error that it throws; of every kind, so that no file stops a batch.
template <typename Value, typename Work>
std::vector<std::variant<Value, ReadError>> for_each_file(std::span<const std::string> paths, Work work) {
    std::vector<std::variant<Value, ReadError>> results;
    results.reserve(paths.size());
    for (const auto& path : paths) {
        try {
            results.emplace_back(work(path));
        } catch (const ReadError& error) {
            results.emplace_back(error);
        } catch (const std::bad_alloc&) {
            results.emplace_back(ReadError{"E_MEMORY", ReadError::kNoOffset, "no memory to read the header"});
        } catch (const std::exception& error) {
            results.emplace_back(ReadError{"E_INTERNAL", ReadError::kNoOffset, quote(error.what())});
        }
    }
    return results;
}

}  // namespace fastcmp
