// What happened to the tensors that the library offered, and to the calls.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace fastcmp::preload {

enum class Count {
    offered, saved, description_only, tensor_bytes, not_selected, resaved, refused_path, refused_size, refused_attributes, no_data,
    no_device_copy, over_limit, low_disk, write_failed, stalled, already_saved, list_refused, reentered, internal_error, end
};
constexpr std::size_t kCounts = static_cast<std::size_t>(Count::end);
constexpr std::array<std::string_view, kCounts> kCountNames{
    "offered", "saved", "description_only", "tensor_bytes", "not_selected", "resaved", "refused_path", "refused_size",
    "refused_attributes", "no_data", "no_device_copy", "over_limit", "low_disk", "write_failed", "stalled", "already_saved",
    "list_refused", "reentered", "internal_error"};
// A tensor that was selected and is not on disk, or something that was asked for and refused.
inline constexpr std::array kLosses{Count::refused_path, Count::refused_size, Count::refused_attributes, Count::no_data, Count::no_device_copy,
                             Count::over_limit,   Count::low_disk,     Count::write_failed,       Count::stalled, Count::already_saved,
                             Count::list_refused, Count::reentered,    Count::internal_error};

enum class Call { abi0, abi1, plain, legacy_abi0, legacy_abi1, end };
constexpr std::size_t kCalls = static_cast<std::size_t>(Call::end);
constexpr std::array<std::string_view, kCalls> kCallNames{"abi0", "abi1", "plain", "legacy_abi0", "legacy_abi1"};

struct Counters {
    std::array<std::atomic<std::uint64_t>, kCounts> counts{};
    std::array<std::atomic<std::uint64_t>, kCalls> calls{};

    void add(Count count, std::uint64_t amount = 1) { counts[static_cast<std::size_t>(count)].fetch_add(amount, std::memory_order_relaxed); }
    std::uint64_t operator[](Count count) const { return counts[static_cast<std::size_t>(count)].load(std::memory_order_relaxed); }
    // True for the first call of its kind.
    bool add(Call call) { return calls[static_cast<std::size_t>(call)].fetch_add(1, std::memory_order_relaxed) == 0; }
    bool has_calls() const {
        for (const auto& call : calls) {
            if (call.load(std::memory_order_relaxed) != 0) {
                return true;
            }
        }
        return false;
    }
};

}  // namespace fastcmp::preload
