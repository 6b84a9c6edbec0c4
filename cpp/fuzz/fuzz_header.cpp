// Any bytes are a header, an error with a code, or a wish for more bytes; what is accepted lies in the file and means what it says.

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "attributes.hpp"
#include "fastcmp/error.hpp"
#include "fastcmp/header.hpp"
#include "fuzzing.hpp"

namespace {

using namespace fastcmp;
using fuzzing::expect;

struct Answer {
    std::optional<std::size_t> end;
    Header header;
    std::string code;  // "" where it was accepted
    std::string reason;
    std::int64_t offset = 0;
};

Answer ask(std::span<const std::byte> bytes) {
    Answer answer;
    try {
        answer.end = find_header_end(bytes, true);
        expect(answer.end.has_value(), "a whole file never asks for more");
        expect(*answer.end > 0 && *answer.end <= bytes.size(), "a header lies in its file");
        answer.header = parse_header(bytes.first(*answer.end), bytes.size());
        check_payload(answer.header);
    } catch (const ReadError& error) {
        answer.code = error.code();
        answer.reason = error.reason();
        answer.offset = error.offset();
        expect(!answer.code.empty() && !answer.reason.empty(), "an error has a code and a reason");
        expect(error.offset() >= ReadError::kNoOffset && error.offset() <= static_cast<std::int64_t>(bytes.size()), "an error points into the file");
        const auto is_printable = [](char c) { return c >= ' ' && c <= '~'; };
        expect(std::all_of(answer.reason.begin(), answer.reason.end(), is_printable), "a reason is one printable line");
        expect(answer.reason.size() < 1024, "a reason is no page");
    }
    return answer;
}

bool is_same(const Answer& one, const Answer& other) {
    return one.end == other.end && one.code == other.code && one.reason == other.reason && one.offset == other.offset &&
           one.header.dims == other.header.dims && one.header.data_offset == other.header.data_offset && one.header.nbytes == other.header.nbytes &&
           one.header.warnings == other.header.warnings;
}

void check_accepted(const Answer& answer, std::size_t size) {
    const auto& header = answer.header;
    expect(header.data_offset >= *answer.end, "a payload begins behind its header");
    expect(header.data_offset <= size && header.nbytes <= size - header.data_offset, "accepted bytes lie in the file");
    expect(header.dims.size() <= kMaxAxes, "there are at most 64 axes");
    unsigned __int128 count = 1;
    for (const auto extent : header.dims) {
        expect(extent >= 0, "no axis is negative");
        count = std::min(count * static_cast<unsigned __int128>(extent), static_cast<unsigned __int128>(1) << 64);
    }
    const bool has_none = std::find(header.dims.begin(), header.dims.end(), 0) != header.dims.end();
    expect(header.element_count == (has_none ? 0 : count), "elements are the product of the axes");
    const auto bits = static_cast<unsigned __int128>(header.element_count) * header.dtype.bits;
    const auto need = header.packed ? (bits + 7) / 8 : static_cast<unsigned __int128>(header.element_count) * header.dtype.unpacked_bytes();
    expect(header.nbytes == need, "accepted bytes are those of the elements");
}

// By __int128 rather than by from_chars.
std::optional<std::int64_t> slow_integer(std::string_view text) {
    const bool is_negative = text.starts_with('-');
    const auto digits = text.substr(is_negative ? 1 : 0);
    __int128 value = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9' || digits.size() > 19) {
            return std::nullopt;
        }
        value = value * 10 + (c - '0');
    }
    value = is_negative ? -value : value;
    const bool fits = value >= std::numeric_limits<std::int64_t>::min() && value <= std::numeric_limits<std::int64_t>::max();
    return digits.empty() || !fits ? std::nullopt : std::optional{static_cast<std::int64_t>(value)};
}

void check_lines(std::span<const std::byte> header) {
    const std::string_view text{reinterpret_cast<const char*>(header.data()), header.size()};
    try {
        std::string again;
        for (const auto& attribute : split_lines(header)) {
            expect(attribute.key_offset == again.size(), "a key stands where it is said to");
            again += std::string{attribute.key} + "=" + std::string{attribute.value} + "\n";
            expect(parse_integer(attribute.value) == slow_integer(attribute.value), "an integer is its digits");
        }
        expect(text.substr(0, again.size()) == again, "lines are keys and values, and nothing is left out");
        expect(text.substr(again.size()) == "$End=1\n" || text.substr(again.size()) == "$END=1\n", "only the last line is the end");
    } catch (const ReadError&) {
        return;  // a line without a key
    }
}

// What is found in the beginning of a file is what is found in all of it.
void check_beginning(std::span<const std::byte> bytes, const Answer& whole, std::size_t length) {
    try {
        const auto end = find_header_end(bytes.first(length), false);
        expect(!end || end == whole.end, "more bytes never move the end of a header");
        expect(end.has_value() || !whole.end || *whole.end > length, "a header that is there is found");
    } catch (const ReadError& error) {
        expect(!whole.end && whole.code == error.code(), "a beginning that is refused is refused with what follows");
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    const auto answer = ask(bytes);
    expect(is_same(answer, ask(bytes)), "the same bytes have the same answer");
    if (answer.code.empty()) {
        check_accepted(answer, size);
    }
    if (answer.end) {
        check_lines(bytes.first(*answer.end));
        check_beginning(bytes, answer, *answer.end);
        check_beginning(bytes, answer, *answer.end - 1);
    }
    if (size > 0) {
        check_beginning(bytes, answer, size / 2 + 1);
        check_beginning(bytes, answer, std::min<std::size_t>(size, 1 + data[size - 1]));
    }
    return 0;
}
