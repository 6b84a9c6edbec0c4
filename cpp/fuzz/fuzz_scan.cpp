// Files of any content, read from where they lie: whatever the policy for several records, and whether or not they are kept in memory.

#include <algorithm>
#include <span>
#include <variant>

#include "fastcmp/scan.hpp"
#include "fuzzing.hpp"

namespace {

using namespace fastcmp;
using fuzzing::expect;

ScanResult scan(const std::string& path, MultiRecord policy, Room* room = nullptr) { return scan_files(std::span{&path, 1}, policy, {}, room).front(); }

bool is_same(const ScanResult& one, const ScanResult& other) {
    if (one.index() != other.index()) {
        return false;
    }
    if (const auto* error = std::get_if<ReadError>(&one)) {
        const auto& others = std::get<ReadError>(other);
        return std::string_view{error->code()} == others.code() && error->offset() == others.offset() && error->reason() == others.reason();
    }
    const auto& tensor = std::get<BinTensor>(one);
    const auto& others = std::get<BinTensor>(other);
    return tensor.dtype_code == others.dtype_code && tensor.format == others.format && tensor.dims == others.dims &&
           tensor.data_offset == others.data_offset && tensor.nbytes == others.nbytes && tensor.packed == others.packed &&
           tensor.warnings == others.warnings && tensor.identity == others.identity;
}

void check_payload_bytes(const std::string& path, const BinTensor& tensor, std::string_view content) {
    expect(tensor.identity.size == content.size(), "a file is as long as it is");
    expect(tensor.data_offset <= content.size() && tensor.nbytes <= content.size() - tensor.data_offset, "a tensor lies in its file");
    std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.nbytes));
    read_range(path, tensor.identity, tensor.data_offset, bytes);
    const auto expected = std::as_bytes(std::span{content}).subspan(static_cast<std::size_t>(tensor.data_offset), bytes.size());
    expect(std::equal(bytes.begin(), bytes.end(), expected.begin()), "what is read is what lies there");
}

void check_kept(const std::string& path, MultiRecord policy, const ScanResult& plain, std::string_view content) {
    std::vector<std::byte> memory(4096 + 8);
    Room room{memory, 8, 4096};
    const auto kept = scan(path, policy, &room);
    expect(is_same(plain, kept), "a file that is kept reads the same");
    expect(room.used() <= memory.size(), "no more is kept than there is room for");
    if (const auto* tensor = std::get_if<BinTensor>(&kept); tensor != nullptr && tensor->kept_at != Room::kNotKept) {
        const auto at = static_cast<std::size_t>(tensor->kept_at);
        expect(at + content.size() <= memory.size(), "a file that is kept lies in the room");
        const auto original = std::as_bytes(std::span{content});
        expect(std::equal(original.begin(), original.end(), memory.begin() + static_cast<std::ptrdiff_t>(at)), "a file is kept as it is");
    }
}

void check_head(const std::string& path, std::string_view content, std::size_t limit) {
    const auto result = read_heads(std::span{&path, 1}, limit, {}).front();
    const auto* head = std::get_if<Head>(&result);
    expect((head == nullptr) == content.empty(), "every file but an empty one has a head");
    if (head != nullptr) {
        const auto expected = std::as_bytes(std::span{content.substr(0, limit)});
        expect(std::ranges::equal(head->bytes, expected), "a head is the first bytes");
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static fuzzing::MemoryFile file;
    const auto content = fuzzing::as_text(data, size);
    file.fill(content);
    const auto strict = scan(file.path(), MultiRecord::error);
    for (const auto policy : {MultiRecord::error, MultiRecord::first, MultiRecord::last}) {
        const auto result = scan(file.path(), policy);
        if (const auto* tensor = std::get_if<BinTensor>(&result)) {
            check_payload_bytes(file.path(), *tensor, content);
            expect(std::holds_alternative<BinTensor>(strict) || std::string_view{std::get<ReadError>(strict).code()} == "E_MULTI_RECORD",
                   "a choice among records is all that a policy changes");
        } else {
            expect(std::string_view{std::get<ReadError>(result).code()} != "E_INTERNAL", "no exception but ours leaves the reader");
        }
        expect(!std::holds_alternative<BinTensor>(strict) || is_same(strict, result), "one record is the first and the last");
        check_kept(file.path(), policy, result, content);
    }
    check_head(file.path(), content, size == 0 ? 1 : 1 + data[0]);
    return 0;
}
