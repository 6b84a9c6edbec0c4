#include "fastcmp/header.hpp"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "attributes.hpp"
#include "fastcmp/error.hpp"

namespace fastcmp {
namespace {

using std::string_view;

constexpr std::uint64_t kMaxInt64 = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
// What Linux transfers in one write(2) at most; writers that ignore the short count leave exactly this much.
constexpr std::uint64_t kOneWrite = 2147479552;

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
                        quote(attribute.key) + ": expected an integer from 0 to 2^63-1, got " + quote(text));
    }
    return static_cast<std::uint64_t>(*value);
}

Object parse_object(const Attribute& attribute, std::uint64_t total) {
    const auto comma = attribute.value.find(',');
    if (comma == string_view::npos) {
        throw ReadError("E_OBJ_RANGE", attribute.at_value(),
                        quote(attribute.key) + ": expected offset,length, got " + quote(attribute.value));
    }
    const auto offset = parse_natural(attribute, attribute.value.substr(0, comma));
    const auto length = parse_natural(attribute, attribute.value.substr(comma + 1));
    if (length > total || offset > total - length) {
        throw ReadError("E_OBJ_RANGE", attribute.at_value(),
                        quote(attribute.key) + ": offset " + std::to_string(offset) + " and length " + std::to_string(length) +
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
                            quote(object.attribute->key) + ": begins at " + std::to_string(object.offset) +
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

Header parse_header(std::span<const std::byte> bytes, std::uint64_t available) {
    const auto attributes = split_lines(bytes);
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
        const Description known{header.dtype.code, header.dims, header.alias.empty() ? header.statistics : "data=" + header.alias};
        if (!header.alias.empty()) {
            throw ReadError("E_ALIAS", at, "the header names " + header.alias + " and holds no data itself").describing(known);
        }
        if (!header.statistics.empty()) {
            throw ReadError("E_STATS_ONLY", at, "statistics without data: " + header.statistics).describing(known);
        }
        throw ReadError("E_NO_DATA", at, dims_text(header) + " are described, expected data and found none").describing(known);
    }
    check_size(header);
    if (!header.bad_format.empty()) {
        throw ReadError("E_FORMAT", 0, "format: expected an integer, got " + header.bad_format);
    }
}

}  // namespace fastcmp
