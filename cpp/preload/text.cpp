#include "text.hpp"

#include <algorithm>

namespace fastcmp::preload {
namespace {

constexpr char kHex[] = "0123456789abcdef";

bool is_printable(char c) { return c >= ' ' && c <= '~'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
    const auto word = lowered(trimmed(text));
    const auto digits = std::min(word.find_first_not_of("0123456789"), word.size());
    const auto number = parse_integer<std::uint64_t>(std::string_view{word}.substr(0, digits));
    auto unit = trimmed(std::string_view{word}.substr(digits));
    if (!unit.empty() && unit.back() == 'b') {
        unit.remove_suffix(1);
    }
    std::uint64_t base = 1000;
    if (unit.size() == 2 && unit.back() == 'i') {
        base = 1024;
        unit.remove_suffix(1);
    }
    const auto power = unit.empty() ? 0 : std::string_view{" kmgt"}.find(unit);
    if (!number || unit.size() > 1 || power == std::string_view::npos || (base == 1024 && power == 0)) {
        return std::nullopt;
    }
    std::uint64_t bytes = *number;
    for (std::size_t i = 0; i < power; ++i) {
        if (__builtin_mul_overflow(bytes, base, &bytes)) {
            return std::nullopt;
        }
    }
    return bytes;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const auto first = text.find_first_not_of(kBlanks);
    return first == std::string_view::npos ? std::string_view{} : text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string lowered(std::string_view text) {
    std::string result{text};
    std::transform(result.begin(), result.end(), result.begin(), lower);
    return result;
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const auto end = std::min(text.find(separator), text.size());
        if (const auto part = trimmed(text.substr(0, end)); !part.empty()) {
            parts.emplace_back(part);
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

std::string joined(std::string_view separator, const std::vector<std::string>& parts) {
    std::string result;
    for (const auto& part : parts) {
        result += (result.empty() ? std::string_view{} : separator);
        result += part;
    }
    return result;
}

std::string printable(std::string_view text, std::size_t limit) {
    std::string result;
    for (const char c : text.substr(0, limit)) {
        if (is_printable(c)) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
        }
    }
    return text.size() > limit ? result + "..." : result;
}

std::string json_string(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += {'\\', c};
        } else if (is_printable(c)) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            // As Python's surrogateescape has it, so that a path comes back byte by byte.
            result += byte < 0x80 ? "\\u00" : "\\udc";
            result += {kHex[byte >> 4], kHex[byte & 15]};
        }
    }
    return result + '"';
}

}  // namespace fastcmp::preload
