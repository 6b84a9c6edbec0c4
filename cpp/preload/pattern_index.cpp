#include "pattern_index.hpp"

namespace fastcmp::preload {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Numbered::Numbered(std::string_view path) {
    text.reserve(path.size());
    numbers.reserve(16);
    for (std::size_t at = 0; at < path.size();) {
        const auto begin = at;
        while (at < path.size() && is_digit(path[at])) {
            ++at;
        }
        if (at == begin) {
            ++at;  // a star, or a letter
        }
        if (is_digit(path[begin]) || path[begin] == '*') {
            text += kNumber;
            numbers.push_back(path.substr(begin, at - begin));
        } else {
            text += path[begin];
        }
    }
}

std::string written_numbers(const Numbered& numbered, std::string_view stars) {
    std::string written;
    for (std::size_t i = 0; i < numbered.numbers.size(); ++i) {
        if (stars[i] != '*') {
            written += numbered.numbers[i];
            written += '/';
        }
    }
    return written;
}

}  // namespace fastcmp::preload
