#pragma once

#include <string>

#include "asdops_tensor.hpp"

namespace [[gnu::visibility("hidden")]] standin {

constexpr std::uint64_t kMaxTensorBytes = std::uint64_t{10} << 30;

/// What the old libraries did themselves when nothing was preloaded: directories, a header and one write.
/// Failures are silent, as there. Refused, unlike there: a path with `..`, so that a test leaves nothing elsewhere.
void write_bin_file(const AsdOps::Tensor& tensor, const std::string& path);

}  // namespace standin
