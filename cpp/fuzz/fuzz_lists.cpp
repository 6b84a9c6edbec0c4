// Lists of registered tensors: any content, in two pieces, against a slow reading of the same lines.
// Parts of an input: the list, where it is cut and the token that is asked for, and up to six questions.

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "fuzzing.hpp"
#include "matches.hpp"
#include "paths.hpp"
#include "registry.hpp"

namespace {

using namespace fastcmp::preload;
using fastcmp::fuzzing::expect;
using fastcmp::tests::matches;

std::string with_small_letter(std::string_view path) {
    std::string text{path};
    if (const auto letter = spelled_letter(path); letter != std::string_view::npos) {
        text[letter] = 't';
    }
    return text;
}

// What the lines of a list register, one line at a time.
class SlowList {
public:
    explicit SlowList(std::string_view content) {
        for (auto end = content.find('\n'); end != std::string_view::npos; end = content.find('\n')) {
            const auto line = content.substr(0, end);
            content.remove_prefix(end + 1);
            if (line.size() <= kMaxLine && objection_to(line).empty()) {
                lines_.push_back(line);
            }
        }
    }
    [[nodiscard]] bool has(std::string_view path) const {
        return any([&](std::string_view line) { return fits(with_small_letter(line), with_small_letter(path)); });
    }
    [[nodiscard]] bool has_directory(std::string_view path) const {
        return any([&](std::string_view line) {
            for (auto slash = line.rfind('/'); slash != std::string_view::npos; slash = line.rfind('/')) {
                line = line.substr(0, slash);
                if (fits(line, path)) {
                    return true;
                }
            }
            return false;
        });
    }
    [[nodiscard]] bool has_token(std::uint64_t token) const {
        return any([&](std::string_view line) {
            unsigned __int128 value = 0;
            for (const char c : line.substr(0, line.find('/'))) {
                if (c < '0' || c > '9') {
                    return true;  // the name of any token
                }
                value = value * 10 + static_cast<unsigned>(c - '0');
                if (value > UINT64_MAX) {
                    return true;
                }
            }
            return value == token;
        });
    }
    // `name` stands in a line, or neither it nor `other` does.
    [[nodiscard]] bool has_part(std::string_view name, std::string_view other) const {
        return any([&](std::string_view line) {
            const auto text = "/" + std::string{line} + "/";
            return text.find("/" + std::string{name} + "/") != std::string::npos || text.find("/" + std::string{other} + "/") == std::string::npos;
        });
    }

private:
    template <typename Ask>
    bool any(Ask ask) const {
        return std::any_of(lines_.begin(), lines_.end(), ask);
    }
    static bool fits(std::string_view line, std::string_view path) {
        return line.find('*') == std::string_view::npos ? line == path : matches(line, path);
    }

    std::vector<std::string_view> lines_;
};

void check_place(const Place& place, std::string_view question) {
    expect(place.run_directory == "/run", "a tensor goes where its list says");
    expect(with_small_letter(place.tail) == with_small_letter(question), "a tensor keeps its name but for one letter");
    expect(!place.tail.starts_with('/') && ("/" + place.tail + "/").find("/../") == std::string::npos, "a registered path stays inside");
}

void check_answers(Registry& registry, const SlowList& slow, const std::vector<std::string_view>& questions, std::uint64_t token) {
    for (const auto question : questions) {
        const auto place = registry.find(question);
        expect(place.has_value() == slow.has(question), "exactly what a line names is found");
        if (place) {
            check_place(*place, question);
        }
        expect(registry.has_directory(question) == slow.has_directory(question), "exactly the directories of what lines name are found");
    }
    expect(registry.has_token(token) == slow.has_token(token), "exactly the tokens of lines are found");
    expect(registry.has_before() == slow.has_part("before", "after") && registry.has_after() == slow.has_part("after", "before"), "before and after are those of lines");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fastcmp::fuzzing::Sandbox sandbox;
    const auto path = (sandbox.path() / "list.txt").string();
    auto questions = fastcmp::fuzzing::split_parts(fastcmp::fuzzing::as_text(data, size), 8);
    const auto content = questions[0];
    const auto numbers = questions[1];
    questions.erase(questions.begin(), questions.begin() + 2);
    const auto byte = [&](std::size_t at) { return at < numbers.size() ? static_cast<unsigned char>(numbers[at]) : 0U; };
    const auto token = std::uint64_t{byte(2)} + (byte(3) == 255 ? UINT64_MAX - 255 : 0);
    const auto first = content.substr(0, (byte(0) + 256 * byte(1)) % (content.size() + 1));

    std::ofstream file{path, std::ios::binary | std::ios::trunc};
    file << first << std::flush;
    ::chmod(path.c_str(), 0600);
    Registry registry{[](std::string_view where, std::string_view why) { expect(!where.empty() && !why.empty(), "a refusal says where and why"); }};
    expect(registry.follow(path, "/run", false) == 0, "a private list is followed");
    check_answers(registry, SlowList{first}, questions, token);
    file << content.substr(first.size()) << std::flush;
    check_answers(registry, SlowList{content}, questions, token);
    registry.refresh();
    check_answers(registry, SlowList{content}, questions, token);
    for (const auto question : questions) {
        registry.mark_saved(question);
    }
    expect(registry.saved_count() <= registry.line_count() && registry.saved_count() <= questions.size(), "no more is saved than is asked for");
    return 0;
}
