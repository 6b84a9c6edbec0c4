#include "fastcmp/header.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

#include "fastcmp/error.hpp"

namespace fastcmp {
namespace {

using std::string_view;

constexpr std::uint64_t kMaxInt64 = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
// What Linux transfers in one write(2) at most; writers that ignore the short count leave exactly this much.
constexpr std::uint64_t kOneWrite = 2147479552;

struct Attribute {
    string_view key;
    string_view value;
    std::size_t key_offset;

    [[nodiscard]] std::int64_t at_key() const { return static_cast<std::int64_t>(key_offset); }
    [[nodiscard]] std::int64_t at_value() const { return static_cast<std::int64_t>(key_offset + key.size() + 1); }
};

using Attributes = std::vector<Attribute>;

string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `^-?[0-9]{1,19}$` and inside int64; no blanks, no plus sign.
std::optional<std::int64_t> parse_integer(string_view text) {
    const auto digits = text.starts_with('-') ? text.substr(1) : text;
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (digits.empty() || digits.size() > 19 || !std::ranges::all_of(digits, is_digit)) {
        return std::nullopt;
    }
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
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

Attributes split_lines(string_view header) {
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

void check_duplicates(const Attributes& attributes) {
    for (std::size_t i = 1; i < attributes.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (attributes[i].key == attributes[j].key) {
                throw ReadError("E_DUP_KEY", attributes[i].at_key(),
                                "key " + quote(attributes[i].key) + " stands here and at byte " +
                                    std::to_string(attributes[j].key_offset) + ", expected once");
            }
        }
    }
}

const Attribute* find(const Attributes& attributes, string_view key) {
    const auto found = std::ranges::find(attributes, key, &Attribute::key);
    return found == attributes.end() ? nullptr : &*found;
}

void check_version(const Attributes& attributes) {
    const auto* version = find(attributes, "$Version");
    if (version != nullptr && version->value != "1.0") {
        throw ReadError("E_VERSION", version->at_value(), "expected version '1.0', got " + quote(version->value));
    }
}

DtypeCode parse_dtype(const Attributes& attributes) {
    const auto* attribute = find(attributes, "dtype");
    if (attribute == nullptr) {
        throw ReadError("E_DTYPE", 0, "the header has no dtype");
    }
    const auto code = parse_integer(attribute->value);
    if (!code) {
        throw ReadError("E_DTYPE", attribute->at_value(), "dtype: expected an integer, got " + quote(attribute->value));
    }
    const auto dtype = find_dtype(*code);
    if (!dtype) {
        throw ReadError("E_DTYPE", attribute->at_value(), "expected the code of a numeric dtype, got " + std::to_string(*code));
    }
    return *dtype;
}

std::uint64_t count_elements(const Header& header, const Attribute& dims) {
    if (std::ranges::find(header.dims, 0) != header.dims.end()) {
        return 0;
    }
    std::uint64_t count = 1;
    for (const auto extent : header.dims) {
        const auto limit = kMaxInt64 / header.dtype.unpacked_bytes() / count;
        if (static_cast<std::uint64_t>(extent) > limit) {
            throw ReadError("E_BAD_DIMS", dims.at_value(),
                            "dims " + quote(dims.value) + " in " + std::string{header.dtype.name} + " exceed 2^63-1 bytes");
        }
        count *= static_cast<std::uint64_t>(extent);
    }
    return count;
}

void parse_dims(const Attributes& attributes, Header& header) {
    const auto* dims = find(attributes, "dims");
    if (dims == nullptr) {
        throw ReadError("E_BAD_DIMS", 0, "the header has no dims");
    }
    std::size_t start = 0;
    while (start <= dims->value.size() && !dims->value.empty()) {
        const auto item = dims->value.substr(start, dims->value.find(',', start) - start);
        const auto extent = parse_integer(item);
        const auto at = dims->at_value() + static_cast<std::int64_t>(start);
        if (!extent) {
            throw ReadError("E_BAD_DIMS", at, "dims: expected an integer below 2^63, got " + quote(item));
        }
        if (*extent < 0) {
            throw ReadError("E_BAD_DIMS", at, "dims: expected a length of 0 or more, got " + std::to_string(*extent));
        }
        if (header.dims.size() == kMaxAxes) {
            throw ReadError("E_BAD_DIMS", at, "dims: expected at most 64 axes, got more");
        }
        header.dims.push_back(*extent);
        start += item.size() + 1;
    }
    header.element_count = count_elements(header, *dims);
}

struct Object {
    const Attribute* attribute;
    std::uint64_t offset;
    std::uint64_t length;
};

std::uint64_t parse_natural(const Attribute& attribute, string_view text) {
    const auto value = parse_integer(text);
    if (!value || *value < 0) {
        throw ReadError("E_OBJ_RANGE", attribute.at_value(),
                        std::string{attribute.key} + ": expected an integer from 0 to 2^63-1, got " + quote(text));
    }
    return static_cast<std::uint64_t>(*value);
}

Object parse_object(const Attribute& attribute, std::uint64_t total) {
    const auto comma = attribute.value.find(',');
    if (comma == string_view::npos) {
        throw ReadError("E_OBJ_RANGE", attribute.at_value(),
                        std::string{attribute.key} + ": expected offset,length, got " + quote(attribute.value));
    }
    const auto offset = parse_natural(attribute, attribute.value.substr(0, comma));
    const auto length = parse_natural(attribute, attribute.value.substr(comma + 1));
    if (length > total || offset > total - length) {
        throw ReadError("E_OBJ_RANGE", attribute.at_value(),
                        std::string{attribute.key} + ": offset " + std::to_string(offset) + " and length " + std::to_string(length) +
                            " lie outside $Object.Length " + std::to_string(total));
    }
    return {&attribute, offset, length};
}

/// Within Length (checked before), one after the other, and together Length.
void check_tiling(std::vector<Object> objects, std::uint64_t total, const Attribute& length) {
    std::ranges::sort(objects, {}, [](const Object& object) { return std::pair{object.offset, object.length}; });
    std::uint64_t covered = 0;
    std::uint64_t end = 0;
    for (const auto& object : objects) {
        if (object.length > 0 && object.offset < end) {
            throw ReadError("E_OBJ_RANGE", object.attribute->at_value(),
                            std::string{object.attribute->key} + ": begins at " + std::to_string(object.offset) +
                                ", inside an object that ends at " + std::to_string(end));
        }
        end = std::max(end, object.offset + object.length);
        covered += object.length;
    }
    if (covered != total) {
        throw ReadError("E_OBJ_RANGE", length.at_value(),
                        "the objects hold " + std::to_string(covered) + " bytes, $Object.Length says " + std::to_string(total));
    }
}

void warn_count(const Attribute* count, std::size_t objects, Header& header) {
    if (count == nullptr || parse_natural(*count, count->value) != objects) {
        header.warnings.push_back("W_COUNT: $Object.Count is " + (count == nullptr ? "missing" : std::string{count->value}) +
                                  ", the header lists " + std::to_string(objects));
    }
}

void choose_object(const std::vector<Object>& objects, Header& header) {
    if (objects.empty()) {
        return;
    }
    const auto named = std::ranges::find_if(objects, [](const Object& object) { return object.attribute->key == "$Object.data"; });
    if (named == objects.end() && objects.size() > 1) {
        throw ReadError("E_OBJ_RANGE", objects.front().attribute->at_key(), "several objects, expected one of them to be $Object.data");
    }
    const auto& chosen = named == objects.end() ? objects.front() : *named;
    header.data_offset += chosen.offset;
    header.nbytes = chosen.length;
    header.has_object = true;
}

void parse_objects(const Attributes& attributes, Header& header, std::uint64_t available) {
    const Attribute* count = nullptr;
    const Attribute* length = nullptr;
    std::vector<const Attribute*> listed;
    for (const auto& attribute : attributes) {
        if (attribute.key == "$Object.Count") {
            count = &attribute;
        } else if (attribute.key == "$Object.Length") {
            length = &attribute;
        } else if (attribute.key.starts_with("$Object.")) {
            listed.push_back(&attribute);
        }
    }
    header.data_offset = header.header_bytes;
    if (count == nullptr && length == nullptr && listed.empty()) {
        header.payload_is_rest = true;
        header.has_object = true;
        header.payload_bytes = header.nbytes = available - header.header_bytes;
        return;
    }
    if (length == nullptr) {
        throw ReadError("E_OBJ_RANGE", 0, "the header has no $Object.Length");
    }
    header.payload_bytes = parse_natural(*length, length->value);
    std::vector<Object> objects;
    for (const auto* attribute : listed) {
        objects.push_back(parse_object(*attribute, header.payload_bytes));
    }
    check_tiling(objects, header.payload_bytes, *length);
    warn_count(count, objects.size(), header);
    choose_object(objects, header);
}

void check_truncated(const Header& header, std::uint64_t available) {
    const auto have = available - header.header_bytes;
    if (header.payload_bytes <= have) {
        return;
    }
    auto reason = "the header promises " + std::to_string(header.payload_bytes) + " bytes, the file has " + std::to_string(have) + " left";
    if (have == kOneWrite) {
        reason += " (2147479552, what one write call can take: the writer lost the rest)";
    }
    throw ReadError("E_TRUNCATED", static_cast<std::int64_t>(header.header_bytes), std::move(reason));
}

void keep_user_attributes(const Attributes& attributes, Header& header) {
    if (const auto* format = find(attributes, "format"); format != nullptr) {
        if (const auto code = parse_integer(format->value)) {
            header.format = *code;
        } else {
            header.bad_format = quote(format->value);
        }
    }
    if (header.has_object) {
        return;
    }
    if (const auto* alias = find(attributes, "data"); alias != nullptr) {
        header.alias = quote(alias->value);
    }
    for (const auto key : {"max", "min", "mean", "l2norm"}) {
        if (const auto* statistic = find(attributes, key); statistic != nullptr) {
            const auto value = quote(statistic->value);
            header.statistics += (header.statistics.empty() ? "" : ", ") + std::string{key} + "=" + value.substr(1, value.size() - 2);
        }
    }
}

std::string dims_text(const Header& header) {
    std::string text = "dims (";
    for (std::size_t axis = 0; axis < header.dims.size(); ++axis) {
        text += (axis == 0 ? "" : ", ") + std::to_string(header.dims[axis]);
    }
    return text + ") in " + std::string{header.dtype.name};
}

void check_size(Header& header) {
    const auto need = header.element_count * header.dtype.unpacked_bytes();
    if (header.nbytes == need) {
        return;
    }
    const auto at = static_cast<std::int64_t>(header.data_offset);
    if (header.dtype.is_sub_byte()) {
        // numel * bits <= 2^63 * 6 / 8 fits 64 bits unsigned only after dividing first
        const auto packed = header.element_count / 8 * header.dtype.bits + (header.element_count % 8 * header.dtype.bits + 7) / 8;
        if (header.nbytes != packed) {
            throw ReadError("E_SIZE", at,
                            dims_text(header) + " need " + std::to_string(need) + " bytes, or " + std::to_string(packed) +
                                " packed, the payload has " + std::to_string(header.nbytes));
        }
        header.packed = true;
        header.warnings.push_back("W_PACKING_ASSUMED: " + std::string{header.dtype.name} + " packed in " + std::to_string(packed) +
                                  " bytes, low bits first is assumed");
        return;
    }
    throw ReadError(header.nbytes < need ? "E_SIZE_SHORT" : "E_SIZE_LONG", at,
                    dims_text(header) + " need " + std::to_string(need) + " bytes, the payload has " + std::to_string(header.nbytes));
}

}  // namespace

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

Header parse_header(std::span<const std::byte> bytes, std::uint64_t available) {
    const auto attributes = split_lines(as_text(bytes));
    Header header;
    header.header_bytes = bytes.size();
    check_duplicates(attributes);
    check_version(attributes);
    header.dtype = parse_dtype(attributes);
    parse_dims(attributes, header);
    parse_objects(attributes, header, available);
    check_truncated(header, available);
    keep_user_attributes(attributes, header);
    return header;
}

void check_payload(Header& header) {
    if (!header.has_object && header.element_count > 0) {
        const auto at = static_cast<std::int64_t>(header.data_offset);
        if (!header.alias.empty()) {
            throw ReadError("E_ALIAS", at, "the header names " + header.alias + " and holds no data itself");
        }
        if (!header.statistics.empty()) {
            throw ReadError("E_STATS_ONLY", at, "statistics without data: " + header.statistics);
        }
        throw ReadError("E_NO_DATA", at, dims_text(header) + " are described, expected data and found none");
    }
    check_size(header);
    if (!header.bad_format.empty()) {
        throw ReadError("E_FORMAT", 0, "format: expected an integer, got " + header.bad_format);
    }
}

}  // namespace fastcmp
