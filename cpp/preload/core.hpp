// What a hook may ask of the library. Plain types only: the hooks are compiled for two C++ ABIs, this side for one.
//
// None of these throws, whatever happens, and none keeps a pointer after it has returned.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastcmp::preload {

enum class Abi { old, cxx11 };

// A string argument; not NUL-terminated.
struct Text {
    const char* data;
    std::size_t size;
};

// A tensor of the library's own type.
struct LibraryTensor {
    int dtype;
    int format;
    const std::int64_t* dims;
    std::uint64_t dim_count;
    std::size_t max_dims;
    const void* device_data;
    const void* host_data;
    std::uint64_t data_size;
    bool is_legacy;  // copied by AsdRtMemCopy rather than aclrtMemcpy
};

bool is_tensor_needed(Abi abi, const std::int64_t* ids, std::size_t id_count, Text operation) noexcept;
bool is_directory_needed(Abi abi, Text directory) noexcept;
bool is_round_needed(std::uint64_t execute_count) noexcept;
bool is_data_needed() noexcept;
bool is_description_needed() noexcept;
bool is_before_needed() noexcept;
bool is_after_needed() noexcept;
bool are_children_needed() noexcept;
bool are_inputs_needed() noexcept;
bool are_outputs_needed() noexcept;
bool is_tiling_needed() noexcept;

void save_tensor(Abi abi, Text format, Text dtype, Text dims, const void* host_data, std::uint64_t data_size, Text path) noexcept;
void save_tiling(Abi abi, const void* data, std::uint64_t data_size, Text path) noexcept;
void save_library_tensor(Abi abi, const LibraryTensor& tensor, Text path) noexcept;

}  // namespace fastcmp::preload
