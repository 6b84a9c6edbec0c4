// What the fuzz targets share: how a promise is held against them, how their input is cut into parts, and files in memory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fastcmp::fuzzing {

// A broken promise ends the process, which is how libFuzzer learns of it.
inline void expect(bool holds, const char* claim) {
    if (!holds) {
        std::fprintf(stderr, "FINDING: it does not hold that %s\n", claim);
        std::abort();
    }
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// The parts of an input stand between bytes of this value, so that a seed can be written by hand; at most `count`, the last takes the rest.
constexpr char kBetweenParts = '\xff';

inline std::vector<std::string_view> split_parts(std::string_view input, std::size_t count) {
    std::vector<std::string_view> parts;
    while (parts.size() + 1 < count) {
        const auto end = input.find(kBetweenParts);
        parts.push_back(input.substr(0, end));
        input = end == std::string_view::npos ? std::string_view{} : input.substr(end + 1);
    }
    parts.push_back(input);
    return parts;
}

// A file that no disk is needed for. It has a path like any other.
class MemoryFile {
public:
    MemoryFile() : descriptor_{::memfd_create("fuzz", MFD_CLOEXEC)}, path_{"/proc/self/fd/" + std::to_string(descriptor_)} {
        expect(descriptor_ >= 0, "the kernel has memfd_create");
    }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile() { ::close(descriptor_); }

    void fill(std::string_view content) {
        const bool is_filled = ::ftruncate(descriptor_, 0) == 0 &&
                               ::pwrite(descriptor_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size());
        expect(is_filled, "there is memory for the input");
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    int descriptor_;
    std::string path_;
};

// A private directory below TMPDIR; gone at the end.
class Sandbox {
public:
    Sandbox() {
        auto name = (std::filesystem::temp_directory_path() / "fastcmp_fuzz_XXXXXX").string();
        expect(::mkdtemp(name.data()) != nullptr, "a temporary directory can be made");
        path_ = name;
    }
    Sandbox(const Sandbox&) = delete;
    Sandbox& operator=(const Sandbox&) = delete;
    ~Sandbox() {
        std::error_code none;
        std::filesystem::remove_all(path_, none);
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace fastcmp::fuzzing
