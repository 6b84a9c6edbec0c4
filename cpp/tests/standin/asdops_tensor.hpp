#pragma once

#include <cstddef>
#include <cstdint>

namespace AsdOps {

constexpr std::size_t kMaxDims = 48;

/// As the old library laid it out; a preload library reads it by offset.
struct Tensor {
    std::int32_t dtype = 0;
    std::int32_t format = 0;
    std::int64_t dims[kMaxDims + 1] = {};
    std::uint64_t dimCount = 0;
    void* data = nullptr;  ///< on the device
    std::uint64_t dataSize = 0;
    std::uint64_t pos = 0;
    void* hostData = nullptr;
};

static_assert(sizeof(Tensor) == 440);
static_assert(offsetof(Tensor, format) == 4 && offsetof(Tensor, dims) == 8 && offsetof(Tensor, dimCount) == 400);
static_assert(offsetof(Tensor, data) == 408 && offsetof(Tensor, dataSize) == 416 && offsetof(Tensor, pos) == 424);
static_assert(offsetof(Tensor, hostData) == 432);

}  // namespace AsdOps
