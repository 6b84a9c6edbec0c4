#pragma once

// The device of the stand-in. Its memory is the host's under another address, at which nobody can read: a preload library that takes a
// device pointer for a host one crashes here as it would there. STANDIN_DEVICE_MEMORY=host makes the addresses the same.

#include <cstddef>
#include <cstdint>

#include "standin.h"

STANDIN_API int aclrtMemcpy(void* destination, std::size_t capacity, const void* source, std::size_t count, int kind);
STANDIN_API int AsdRtMemCopy(void* destination, std::uint64_t capacity, const void* source, std::uint64_t count, int kind);

namespace [[gnu::visibility("hidden")]] standin {

constexpr int kHostToHost = 0;
constexpr int kDeviceToHost = 2;

/// Where the device has this memory; null stays null.
void* on_device(const void* host);

}  // namespace standin
