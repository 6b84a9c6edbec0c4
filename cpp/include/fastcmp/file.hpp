#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "fastcmp/error.hpp"
#include "fastcmp/identity.hpp"

namespace fastcmp {

/// fstat of an open file; throws E_SHRUNK or E_CHANGED if it is no longer `expected`.
void expect_unchanged(int descriptor, const FileIdentity& expected);

/// Directories that opened files must lie in, already without symbolic links; empty: anywhere.
using Roots = std::vector<std::string>;

/// An open regular file. Moves, closes itself.
class File {
public:
    /// Throws ReadError: E_MISSING, E_PERMISSION, E_NOT_REGULAR, E_LOOP, E_PATH, E_PATH_OUTSIDE, E_LINK_OUTSIDE, E_OPEN_FILES, E_IO, E_MEMORY.
    static File open(const std::string& path, const Roots& roots);

    File(File&& other) noexcept;
    File& operator=(File&&) = delete;
    ~File();

    [[nodiscard]] const FileIdentity& identity() const noexcept { return identity_; }
    [[nodiscard]] std::uint64_t size() const noexcept { return identity_.size; }
    /// Give the descriptor away; the caller closes it.
    [[nodiscard]] int release() noexcept;
    /// Fill `into` from `offset`. Returns the bytes read: fewer only at the end of the file. Throws E_IO.
    std::size_t read_at(std::uint64_t offset, std::span<std::byte> into) const;
    /// The same, but a short read is E_SHRUNK.
    void read_exactly(std::uint64_t offset, std::span<std::byte> into) const;
    void expect(const FileIdentity& expected) const { expect_unchanged(descriptor_, expected); }
    /// From now on reads are served from `content`: all of the file, read before, which must outlive it.
    void serve_from(std::span<const std::byte> content) noexcept { content_ = content; }

private:
    File(int descriptor, const FileIdentity& identity) noexcept : descriptor_{descriptor}, identity_{identity} {}

    int descriptor_;
    FileIdentity identity_;
    std::span<const std::byte> content_;
};

/// Memory that small files are read into as a whole, one behind the other, so that each is opened once.
class Room {
public:
    static constexpr std::int64_t kNotKept = -1;

    /// `used` bytes of the memory are taken; files above `largest` bytes are not kept.
    Room(std::span<std::byte> memory, std::size_t used, std::size_t largest) noexcept : memory_{memory}, used_{used}, largest_{largest} {}

    /// Where in the memory the file lies now, kNotKept if it is too large. Throws E_IO, E_SHRUNK, E_CHANGED.
    std::int64_t keep(File& file);
    [[nodiscard]] std::size_t used() const noexcept { return used_; }

private:
    std::span<std::byte> memory_;
    std::size_t used_;
    std::size_t largest_;
};

/// The first bytes of a file, at most `limit`.
struct Head {
    std::vector<std::byte> bytes;
    FileIdentity identity;
    std::int64_t kept_at = Room::kNotKept;
};

using HeadResult = std::variant<Head, ReadError>;

/// Opens, reads, closes. Throws ReadError; E_EMPTY_FILE if there is nothing to read.
Head read_head(const std::string& path, std::size_t limit, const Roots& roots, Room* room = nullptr);

/// One result per path, in order. A fault of one file is its own result and never an exception.
std::vector<HeadResult> read_heads(std::span<const std::string> paths, std::size_t limit, const Roots& roots, Room* room = nullptr);

/// Fills `into` from `offset` of a file that is still `expected`, before and after. Throws ReadError.
void read_range(const std::string& path, const FileIdentity& expected, std::uint64_t offset, std::span<std::byte> into);

}  // namespace fastcmp
