#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "asdops_tensor.hpp"

// Inline and hidden: of this library alone, whatever else the process has loaded.
namespace [[gnu::visibility("hidden")]] standin {

/// "2,3"
inline std::string join(std::span<const std::int64_t> dims) {
    std::string text;
    for (const auto dim : dims) {
        text += (text.empty() ? "" : ",") + std::to_string(dim);
    }
    return text;
}

/// The dims of an atb::Tensor; a count that cannot be is cut.
template <typename Tensor>
std::span<const std::int64_t> dims_of(const Tensor& tensor) {
    return {tensor.dims, static_cast<std::size_t>(std::min<std::uint64_t>(tensor.dimNum, std::size(tensor.dims)))};
}

inline std::span<const std::int64_t> dims_of(const AsdOps::Tensor& tensor) {
    return {tensor.dims, static_cast<std::size_t>(std::min<std::uint64_t>(tensor.dimCount, AsdOps::kMaxDims))};
}

}  // namespace standin
