// One file of the dump: written under a temporary name, renamed when it is whole. Links below the root are never followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "descriptor.hpp"

namespace fastcmp::preload {

// A header as the acceleration libraries write it: `$Version=1.0` to `$End=1`. Without data, one that only describes.
std::string tensor_header(std::string_view format, std::string_view dtype, std::string_view dims, std::uint64_t data_size);

// What went wrong: an errno and the step, "" where nothing did.
struct Failure {
    int error = 0;
    const char* step = "";
    explicit operator bool() const { return error != 0; }
};

class TensorFile {
public:
    TensorFile() = default;
    TensorFile(const TensorFile&) = delete;
    TensorFile& operator=(const TensorFile&) = delete;
    ~TensorFile() { discard(); }

    // Makes what is missing of root and of the directories of `relative`, and the temporary file. Of the first `own_names` directories
    // below the root each may be a link that the user has made; what follows was named by the library, and no link is followed there.
    Failure create(const std::string& root, const std::string& relative, int own_names, std::uint64_t min_free, std::uint64_t size);
    // Header (may be empty) and data in one system call where the kernel takes them whole.
    Failure append(std::string_view header, const char* data, std::size_t size);
    // Gives the file its name; an earlier file of that name is replaced.
    Failure publish();
    // Removes the temporary file, if there is one.
    void discard();

private:
    Descriptor directory_;
    Descriptor file_;
    std::string name_;
    std::string temporary_;
};

// ENOSPC from `create` where the disk has room, but less than the reserve.
constexpr const char* kLowDisk = "free space";

}  // namespace fastcmp::preload
