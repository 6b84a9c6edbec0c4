#include "attributes.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "fastcmp/error.hpp"
#include "fastcmp/header.hpp"

namespace fastcmp {
namespace {

using std::string_view;

string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_key_character(char c, bool first) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
    return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

/// A file of another kind fails here, on its first bytes; a cut first line does not.
void check_magic(string_view head) {
    std::size_t i = 0;
    while (i < head.size() && is_key_character(head[i], i == 0)) {
        ++i;
    }
    const bool ended = i == head.size() && i > 0;
    if (!ended && (i == 0 || head[i] != '=')) {
        throw ReadError("E_BAD_MAGIC", 0,
                        "expected a header line such as '$Version=1.0', got " + quote(head.substr(0, head.find('\n'))));
    }
}

}  // namespace

std::optional<std::int64_t> parse_integer(string_view text) {
    const auto digits = text.starts_with('-') ? text.substr(1) : text;
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (digits.empty() || digits.size() > 19 || !std::ranges::all_of(digits, is_digit)) {
        return std::nullopt;
    }
    std::int64_t value = 0;
    // Digits to the end, so that all of them are taken; there may be too many.
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
        return std::nullopt;
    }
    return value;
}

const Attribute* find(const Attributes& attributes, string_view key) {
    const auto found = std::ranges::find(attributes, key, &Attribute::key);
    return found == attributes.end() ? nullptr : &*found;
}

Attributes split_lines(std::span<const std::byte> bytes) {
    const auto header = as_text(bytes);
    Attributes attributes;
    attributes.reserve(12);
    std::size_t start = 0;
    while (start < header.size()) {
        const auto line = header.substr(start, header.find('\n', start) - start);
        const auto split = line.find('=');
        if (split == string_view::npos || split == 0) {
            throw ReadError("E_BAD_MAGIC", static_cast<std::int64_t>(start), "expected key=value, got " + quote(line));
        }
        attributes.push_back({line.substr(0, split), line.substr(split + 1), start});
        start += line.size() + 1;
    }
    attributes.pop_back();  // the $End line
    return attributes;
}

std::string quote(std::string_view text) {
    constexpr std::size_t kShown = 60;
    constexpr string_view kHex = "0123456789abcdef";
    std::string out = "'";
    for (const char c : text.substr(0, kShown)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            out += c;
        } else {
            out += "\\x";
            out += kHex[byte >> 4U];
            out += kHex[byte & 15U];
        }
    }
    return out + (text.size() > kShown ? "...'" : "'");
}

std::optional<std::size_t> find_header_end(std::span<const std::byte> head, bool is_whole) {
    const auto text = as_text(head.first(std::min(head.size(), kMaxHeader)));
    check_magic(text.substr(0, kMaxLine));
    std::size_t start = 0;
    for (std::size_t line_count = 0; line_count < kMaxLines; ++line_count) {
        const auto end = text.find('\n', start);
        if (end == string_view::npos || end - start > kMaxLine) {
            if (end == string_view::npos && !is_whole && text.size() < kMaxHeader && text.size() - start <= kMaxLine) {
                return std::nullopt;
            }
            break;
        }
        const auto line = text.substr(start, end - start);
        if (line_count > 0 && (line == "$End=1" || line == "$END=1")) {
            return end + 1;
        }
        start = end + 1;
    }
    throw ReadError("E_NO_END", static_cast<std::int64_t>(start), "expected a header that ends in '$End=1', found no such line before or here");
}

}  // namespace fastcmp
