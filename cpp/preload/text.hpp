// Small readings of text: numbers, lists, sizes. Nothing here throws but std::bad_alloc.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fastcmp::preload {

// A whole decimal number, nothing before or after it.
template <typename Integer>
std::optional<Integer> parse_integer(std::string_view text) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) {
        return std::nullopt;
    }
    return value;
}

// "20G", "512 MiB", "4096": bytes; K M G T are powers of 1000, Ki Mi Gi Ti of 1024, a B may follow.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

std::string_view trimmed(std::string_view text);
std::string lowered(std::string_view text);

// The parts between separators, trimmed, empty ones left out.
std::vector<std::string> split(std::string_view text, char separator);

// The parts with a separator between them.
std::string joined(std::string_view separator, const std::vector<std::string>& parts);

// Cut to `limit` bytes, bytes outside printable ASCII as \xNN: for a line on a terminal.
std::string printable(std::string_view text, std::size_t limit = 200);

// With its quotes, as JSON wants it; a byte that is no ASCII becomes \udcNN.
std::string json_string(std::string_view text);

}  // namespace fastcmp::preload
