// The environment, read: any values of the variables, and the small readings of text that they are made of.
// Parts of an input: `NAME=value`, as many as there are.

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "fuzzing.hpp"
#include "settings.hpp"
#include "text.hpp"

namespace {

using namespace fastcmp::preload;
using fastcmp::fuzzing::expect;

int value_of(char hex) { return hex <= '9' ? hex - '0' : hex - 'a' + 10; }

// What a reader makes of it; nothing if it is no JSON text.
std::optional<std::string> read_json_string(std::string_view json) {
    std::string text;
    for (std::size_t i = 1; i + 1 < json.size(); ++i) {
        if (json[i] != '\\') {
            if (json[i] < ' ' || json[i] > '~' || json[i] == '"') {
                return std::nullopt;
            }
            text += json[i];
        } else if (json[i + 1] == 'u') {
            text += static_cast<char>(value_of(json[i + 4]) * 16 + value_of(json[i + 5]));
            i += 5;
        } else {
            text += json[++i];
        }
    }
    return json.size() >= 2 && json.front() == '"' && json.back() == '"' ? std::optional{text} : std::nullopt;
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void check_text(std::string_view text) {
    expect(read_json_string(json_string(text)) == text, "JSON text comes back byte by byte");
    expect(is_printable(printable(text)) && printable(text).size() <= 4 * 200 + 3, "a line for a terminal is printable and short");
    expect(lowered(lowered(text)) == lowered(text) && lowered(text).size() == text.size(), "small letters stay so");
    expect(trimmed(trimmed(text)) == trimmed(text), "what is trimmed stays so");
    for (const auto& part : split(text, ',')) {
        expect(!part.empty() && part.find(',') == std::string::npos && trimmed(part) == part, "a part of a list is no list");
    }
    if (const auto bytes = parse_bytes(text); bytes && text.find_first_not_of("0123456789") == std::string_view::npos) {
        unsigned __int128 value = 0;
        for (const char c : text) {
            value = std::min(value * 10 + static_cast<unsigned>(c - '0'), static_cast<unsigned __int128>(1) << 70);
        }
        expect(value == *bytes, "a number of bytes is its digits");
    }
}

void check_settings(const Settings& settings) {
    const auto json = describe(settings);
    expect(is_printable(json) && json.starts_with('{') && json.ends_with('}'), "a description is one line of JSON");
    expect(settings.mistakes <= settings.problems.size(), "mistakes are problems");
    for (const auto& problem : settings.problems) {
        expect(!problem.empty() && is_printable(problem) && problem.size() < 600, "a problem is one printable line");
    }
    expect(settings.max_stall_s > 0, "a stall has an end after its beginning");
    for (const auto& [first, last] : settings.environment.rounds) {
        expect(first <= last && settings.environment.admits_round(first) && settings.environment.admits_round(last), "both ends of a range belong to it");
    }
    expect(settings.output_below.starts_with("msit_dump") && settings.output_below.ends_with("/tensors") &&
               std::count(settings.output_below.begin(), settings.output_below.end(), '/') == 1 && settings.output_below.find("..") != 0,
           "the directory of a dump is one name");
    expect(settings.output_base.empty() || settings.output_base.starts_with('/'), "the output is absolute");
    expect(settings.legacy_allow_list.empty() ||
               (settings.legacy_allow_list.starts_with("/tmp/") && settings.legacy_allow_list.ends_with("ait_compare_acl_map.txt") &&
                settings.legacy_allow_list.find("/../") == std::string::npos),
           "the original's list is looked for where it was");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::map<std::string, std::string, std::less<>> variables;
    for (const auto part : fastcmp::fuzzing::split_parts(fastcmp::fuzzing::as_text(data, size), 32)) {
        check_text(part);
        const auto value = part.substr(std::min(part.find('='), part.size() - 1) + 1);
        check_text(value);
        // The kernel knows no NUL in a variable.
        variables.emplace(part.substr(0, part.find('=')), value.substr(0, value.find('\0')));
    }
    const auto settings = read_settings([&](const char* name) -> const char* {
        const auto found = variables.find(std::string_view{name});
        return found == variables.end() ? nullptr : found->second.c_str();
    });
    check_settings(settings);
    const auto text = fastcmp::fuzzing::as_text(data, size);
    const std::int64_t ids[] = {std::numeric_limits<std::int64_t>::min(), 0, 7};
    settings.environment.admits_operation(ids, size % 4, text);
    settings.environment.admits_path(text);
    return 0;
}
