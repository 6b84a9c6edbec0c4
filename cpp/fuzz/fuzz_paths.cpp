// The paths that acceleration libraries hand over: what is not objected to stays below the output directory, whatever is done to it.
// Parts of an input: path, task, directory, numbers.

#include <algorithm>
#include <climits>
#include <filesystem>

#include "fuzzing.hpp"
#include "paths.hpp"

namespace {

using namespace fastcmp::preload;
using fastcmp::fuzzing::expect;
namespace fs = std::filesystem;

std::vector<std::string_view> components_of(std::string_view path) {
    std::vector<std::string_view> components;
    for (std::size_t begin = 0; begin <= path.size();) {
        const auto end = std::min(path.find('/', begin), path.size());
        components.push_back(path.substr(begin, end - begin));
        begin = end + 1;
    }
    return components;
}

// What may be written, said in another way.
bool is_harmless(std::string_view path, std::size_t longest_component, std::size_t longest_path = kMaxPath) {
    for (const char c : path) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            return false;
        }
    }
    for (const auto component : components_of(path)) {
        if (component.empty() || component == "." || component == ".." || component.size() > longest_component) {
            return false;
        }
    }
    return path.size() <= longest_path;
}

bool is_inside(std::string_view relative) {
    const fs::path root{"/the/output"};
    const auto whole = (root / fs::path{relative}).lexically_normal().string();
    return whole.starts_with("/the/output/");
}

void check_harmless(std::string_view path, std::string_view task, long parent, long own, unsigned long number) {
    expect(is_inside(path), "a path without objection lies inside");
    expect(collapsed(path) == path, "a path without objection has nothing to collapse");
    const auto tail = tail_of(path, task);
    expect(tail.empty() || is_harmless(tail, kMaxComponent), "the tail of a harmless path is harmless");
    const auto again = with_repeat(path, number);
    expect(is_inside(again) && is_harmless(again, kMaxComponent, kMaxPath + kTemporaryExtra) && components_of(again).size() == components_of(path).size(),
           "the name of a later save lies beside the first");
    constexpr std::size_t kAround = sizeof "..0123456789abcdef.tmp" - 1;
    expect(components_of(again).back().size() + kAround <= kMaxComponent, "its temporary name is no longer than names are");
    if (parent != own) {
        const auto moved = with_own_run_directory(again, parent, own);
        expect(is_inside(moved) && components_of(moved).size() == components_of(path).size(), "a child's path lies beside its parent's");
        expect(components_of(moved).front().size() <= kMaxComponent, "a child's directory is no longer than names are");
        expect(with_own_run_directory(moved, parent, own) == moved, "a child's path is its own from then on");
    }
}

void check_any(std::string_view path, std::string_view task, std::string_view directory) {
    const auto tail = tail_of(path, task);
    expect(path.ends_with(tail), "a tail is an end of its path");
    const auto short_one = collapsed(path);
    expect(collapsed(short_one) == short_one, "a collapsed path stays so");
    expect(short_one.find("//") == std::string::npos && short_one.size() <= path.size(), "a collapsed path has no empty names");
    expect(path.starts_with('/') == short_one.starts_with('/'), "a collapsed path is as absolute as before");
    if (const auto rest = below(path, directory)) {
        expect(std::string{directory} + "/" + std::string{*rest} == path, "what is below a directory is the rest of the path");
    }
    if (const auto letter = spelled_letter(path); letter != std::string_view::npos) {
        expect(letter < path.size() && (path[letter] == 't' || path[letter] == 'T') && part_of(path) != Part::unknown, "the letter is a t, of an input or an output");
    }
    for (const auto component : components_of(path)) {
        expect(component.empty() || has_component(path, component), "a path has its components");
    }
    if (short_one.starts_with('/')) {
        for (int count = 1; count <= 3; ++count) {
            const auto [base, names] = split_base(short_one, count);
            expect((base == "/" ? base : base + "/") + names == short_one, "a path is its base and its last names");
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto parts = fastcmp::fuzzing::split_parts(fastcmp::fuzzing::as_text(data, size), 4);
    const std::string_view path = parts[0];
    const auto numbers = parts[3];
    const auto byte = [&](std::size_t at) { return at < numbers.size() ? static_cast<unsigned char>(numbers[at]) : 0U; };
    check_any(path, parts[1], parts[2]);
    const bool may_be_written = objection_to(path).empty();
    expect(may_be_written == (!path.empty() && is_harmless(path, kMaxComponent - kTemporaryExtra)), "exactly what is harmless has no objection");
    if (may_be_written) {
        check_harmless(path, parts[1], 1 + static_cast<long>(byte(0)), 1 + static_cast<long>(byte(1)) * 256 + byte(2), byte(3) == 255 ? UINT_MAX : byte(3));
    }
    return 0;
}
