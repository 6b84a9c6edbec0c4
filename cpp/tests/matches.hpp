// What a `*` in a list means, in as few words as can be: what the index of patterns is held against.
#pragma once

#include <cctype>
#include <string_view>

namespace fastcmp::tests {

inline bool matches(std::string_view pattern, std::string_view path) {
    const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
    std::size_t at = 0;
    for (const char c : pattern) {
        const auto begin = at;
        if (c != '*') {
            if (at >= path.size() || path[at] != c) {
                return false;
            }
            ++at;
            continue;
        }
        while (at < path.size() && is_digit(path[at])) {
            ++at;
        }
        if (at == begin || (begin > 0 && is_digit(path[begin - 1]))) {
            return false;
        }
    }
    return at == path.size();
}

}  // namespace fastcmp::tests
