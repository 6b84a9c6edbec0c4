// Paths in which a `*` stands for one whole run of digits, found by a path in a time that does not grow with their number.
//
// A pattern is its text without numbers, where in it the stars are, and the numbers that are written out: 0/*_L/6_N is `#/#_L/#_N`, `-*-`
// and `0,6`. A path has one text without numbers; for each of the few ways that stars are placed in patterns of that text, its other
// numbers are looked up. In `1*` and `**` the star is no whole run, so they fit no path.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fastcmp::preload {

// A path or a pattern, taken apart at its runs of digits and its stars.
struct Numbered {
    explicit Numbered(std::string_view path);

    std::string text;                       // kNumber in place of each number or star
    std::vector<std::string_view> numbers;  // "*" for a star; parts of what was given
};

// No path that a list may register holds it.
constexpr char kNumber = '\x01';

// The numbers of `numbered` that are no star in `stars`, each with its end.
std::string written_numbers(const Numbered& numbered, std::string_view stars);

template <typename Value>
class PatternIndex {
public:
    // The value of a pattern, which is new if there was none.
    std::pair<Value*, bool> emplace(std::string_view pattern, const Value& value) {
        const Numbered numbered{pattern};
        std::string stars;
        for (const auto number : numbered.numbers) {
            stars += number == "*" ? '*' : '-';
        }
        auto& placings = placings_[numbered.text];
        auto placing = placings.begin();
        while (placing != placings.end() && placing->stars != stars) {
            ++placing;
        }
        if (placing == placings.end()) {
            placing = placings.insert(placings.end(), {stars, {}});
        }
        const auto [found, is_new] = placing->values.try_emplace(written_numbers(numbered, stars), value);
        size_ += is_new ? 1 : 0;
        return {&found->second, is_new};
    }

    // That of a pattern which the path fits; null if it fits none.
    const Value* find(std::string_view path) const {
        if (size_ == 0) {
            return nullptr;
        }
        const Numbered numbered{path};
        const auto placings = placings_.find(numbered.text);
        if (placings == placings_.end() || path.find('*') != std::string_view::npos) {
            return nullptr;
        }
        for (const auto& placing : placings->second) {
            if (placing.stars.size() != numbered.numbers.size()) {
                continue;  // a path that holds kNumber itself
            }
            if (const auto found = placing.values.find(written_numbers(numbered, placing.stars)); found != placing.values.end()) {
                return &found->second;
            }
        }
        return nullptr;
    }

    std::size_t size() const { return size_; }

    template <typename Work>
    void for_each(Work work) {
        for (auto& [text, placings] : placings_) {
            for (auto& placing : placings) {
                for (auto& [numbers, value] : placing.values) {
                    work(value);
                }
            }
        }
    }

private:
    struct Placing {
        std::string stars;
        std::unordered_map<std::string, Value> values;  // by the numbers that are written out
    };

    std::unordered_map<std::string, std::vector<Placing>> placings_;  // by the text without numbers
    std::size_t size_ = 0;
};

}  // namespace fastcmp::preload
