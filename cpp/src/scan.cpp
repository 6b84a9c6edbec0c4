#include "fastcmp/scan.hpp"

#include <algorithm>
#include <utility>

namespace fastcmp {
namespace {

constexpr std::string_view kRecordStart = "$Version=";
// A file of nothing but tiny records must not keep a reader busy for hours.
constexpr std::size_t kMaxRecords = 65536;

/// One record of an open file, with the buffer that its header was read into.
class RecordReader {
public:
    explicit RecordReader(const File& file) : file_{file} {}

    /// Throws ReadError with offsets in the file.
    Header read(std::uint64_t base) {
        const auto available = file_.size() - base;
        try {
            for (auto wanted = kFirstRead;; wanted = kMaxHeader) {
                const auto head = fill(base, std::min<std::uint64_t>(wanted, available));
                if (const auto end = find_header_end(head, head.size() == available)) {
                    return parse_header(head.first(*end), available);
                }
            }
        } catch (const ReadError& error) {
            throw error.at(base);
        }
    }

    /// True if another record begins at `base`.
    bool record_at(std::uint64_t base) {
        const auto head = fill(base, std::min<std::uint64_t>(kRecordStart.size(), file_.size() - base));
        return std::string_view{reinterpret_cast<const char*>(head.data()), head.size()} == kRecordStart;
    }

private:
    std::span<const std::byte> fill(std::uint64_t base, std::uint64_t count) {
        buffer_.resize(static_cast<std::size_t>(count));
        file_.read_exactly(base, buffer_);
        return buffer_;
    }

    const File& file_;
    std::vector<std::byte> buffer_;
};

struct Record {
    Header header;
    std::uint64_t base = 0;

    [[nodiscard]] std::uint64_t end() const { return base + header.header_bytes + header.payload_bytes; }
};

/// Walk the records behind the first one. Returns how many there are in all; `record` becomes the last if that is the policy.
std::size_t walk(RecordReader& reader, const File& file, MultiRecord policy, Record& record) {
    std::size_t count = 1;
    auto end = record.end();
    while (end < file.size() && reader.record_at(end)) {
        if (++count > kMaxRecords) {
            throw ReadError("E_MULTI_RECORD", static_cast<std::int64_t>(end), "more than 65536 records in one file, expected one");
        }
        try {
            Record next{reader.read(end), end};
            end = next.end();
            if (policy == MultiRecord::last) {
                record = std::move(next);
            }
        } catch (const ReadError&) {
            if (policy == MultiRecord::last) {
                throw;
            }
            break;
        }
    }
    return count;
}

void apply_policy(RecordReader& reader, const File& file, MultiRecord policy, Record& record) {
    const auto first_end = record.end();
    const auto count = walk(reader, file, policy, record);
    const auto text = std::to_string(count) + " records in one file";
    if (count > 1 && policy == MultiRecord::error) {
        throw ReadError("E_MULTI_RECORD", static_cast<std::int64_t>(first_end), text + ", expected one");
    }
    if (count > 1) {
        record.header.warnings.push_back("W_MULTI_RECORD: " + text + ", the " + (policy == MultiRecord::first ? "first" : "last") + " was taken");
    }
    if (record.end() < file.size() && (count == 1 || policy == MultiRecord::last)) {
        record.header.warnings.push_back("W_TRAILING: " + std::to_string(file.size() - record.end()) + " bytes follow the payload");
    }
}

}  // namespace

std::optional<MultiRecord> parse_multi_record(std::string_view word) noexcept {
    if (word == "error") {
        return MultiRecord::error;
    }
    if (word == "first") {
        return MultiRecord::first;
    }
    if (word == "last") {
        return MultiRecord::last;
    }
    return std::nullopt;
}

BinTensor scan_file(const std::string& path, MultiRecord policy, const Roots& roots, Room* room) {
    auto file = File::open(path, roots);
    if (file.size() == 0) {
        throw ReadError("E_EMPTY_FILE", 0, "the file is empty, expected a header");
    }
    const auto kept_at = room == nullptr ? Room::kNotKept : room->keep(file);
    RecordReader reader{file};
    Record record{reader.read(0), 0};
    if (record.end() < file.size()) {
        apply_policy(reader, file, policy, record);
    }
    auto& header = record.header;
    try {
        check_payload(header);
    } catch (const ReadError& error) {
        throw error.at(record.base).of(file.identity());
    }
    return {header.dtype.code,
            header.format,
            std::move(header.dims),
            record.base + header.data_offset,
            header.nbytes,
            header.packed,
            std::move(header.warnings),
            file.identity(),
            kept_at};
}

std::vector<ScanResult> scan_files(std::span<const std::string> paths, MultiRecord policy, const Roots& roots, Room* room) {
    return for_each_file<BinTensor>(paths, [&](const std::string& path) { return scan_file(path, policy, roots, room); });
}

}  // namespace fastcmp
