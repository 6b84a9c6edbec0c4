// The reader without Python. Exit status 1 if any check failed.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "check.hpp"
#include "fastcmp/scan.hpp"

namespace {

using namespace fastcmp;
using namespace fastcmp::tests;
namespace fs = std::filesystem;

std::string header(const std::string& length, const std::string& dtype, const std::string& dims, const std::string& objects) {
    const auto count = objects.find("$Object") == std::string::npos ? "0" : "1";
    return std::string{"$Version=1.0\n$Object.Count="} + count + "\n$Object.Length=" + length + "\nformat=2\ndtype=" + dtype +
           "\ndims=" + dims + "\n" + objects + "$End=1\n";
}

std::string ones(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += ",1";
    }
    return text;
}

const std::string kSix(24, 'x');
const std::string kGood = header("24", "0", "2,3", "$Object.data=0,24\n") + kSix;

class Folder {
public:
    Folder() : path_{fs::temp_directory_path() / ("fastcmp_test_" + std::to_string(::getpid()))} { fs::create_directories(path_); }
    ~Folder() { fs::remove_all(path_); }
    std::string write(const std::string& name, const std::string& bytes) const {
        std::ofstream{path_ / name, std::ios::binary} << bytes;
        return (path_ / name).string();
    }
    [[nodiscard]] std::string at(const std::string& name) const { return (path_ / name).string(); }

private:
    fs::path path_;
};

std::string code_of(const ScanResult& result) {
    const auto* error = std::get_if<ReadError>(&result);
    return error == nullptr ? "ok" : error->code();
}

ScanResult scan(const std::string& path, MultiRecord policy = MultiRecord::error, const Roots& roots = {}) {
    return scan_files(std::span{&path, 1}, policy, roots).front();
}

void test_vectors(const Folder& folder) {
    const struct {
        const char* id;
        std::string bytes;
        const char* code;
    } rows[] = {
        {"good", kGood, "ok"},
        {"scalar", header("4", "0", "", "$Object.data=0,4\n") + "abcd", "ok"},
        {"no elements", header("0", "0", "0,3", ""), "ok"},
        {"no objects at all", "dtype=0\ndims=2,3\n$End=1\n" + kSix, "ok"},
        {"empty", "", "E_EMPTY_FILE"},
        {"other kind", "\x7f" "ELF....", "E_BAD_MAGIC"},
        {"no end", kGood.substr(0, 90), "E_NO_END"},
        {"dup", "dtype=0\ndtype=0\ndims=1\n$End=1\n1234", "E_DUP_KEY"},
        {"version", "$Version=2.0\ndtype=0\ndims=1\n$End=1\n1234", "E_VERSION"},
        {"dtype", header("24", "28", "2,3", "$Object.data=0,24\n") + kSix, "E_DTYPE"},
        {"negative", header("24", "0", "-2,-3", "$Object.data=0,24\n") + kSix, "E_BAD_DIMS"},
        {"overflow", header("24", "0", "4294967296,4294967296", "$Object.data=0,24\n") + kSix, "E_BAD_DIMS"},
        {"offset", header("24", "0", "2,3", "$Object.data=9223372036854775800,24\n") + kSix, "E_OBJ_RANGE"},
        {"cut", kGood.substr(0, kGood.size() - 1), "E_TRUNCATED"},
        {"twice", kGood + kGood, "E_MULTI_RECORD"},
        {"short", header("20", "0", "2,3", "$Object.data=0,20\n") + kSix.substr(4), "E_SIZE_SHORT"},
        {"long", header("24", "0", "2,2", "$Object.data=0,24\n") + kSix, "E_SIZE_LONG"},
        {"packed", header("5", "29", "4", "$Object.data=0,5\n") + "abcde", "E_SIZE"},
        {"alias", header("0", "0", "2,3", "data=0_1.bin\n"), "E_ALIAS"},
        {"statistics", header("0", "0", "2,3", "max=6.0\n"), "E_STATS_ONLY"},
        {"description", header("0", "0", "2,3", ""), "E_NO_DATA"},
        {"no dtype", "dims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype no integer", "dtype=x\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype with a sign", "dtype=+0\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype empty", "dtype=\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype minus", "dtype=-\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype of 20 digits", "dtype=00000000000000000000\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"dtype beyond 2^63", "dtype=9999999999999999999\ndims=1\n$End=1\n1234", "E_DTYPE"},
        {"no dims", "dtype=0\n$End=1\n1234", "E_BAD_DIMS"},
        {"dims no integer", "dtype=0\ndims=1,x\n$End=1\n1234", "E_BAD_DIMS"},
        {"dims end in a comma", "dtype=0\ndims=1,\n$End=1\n1234", "E_BAD_DIMS"},
        {"64 axes", "dtype=0\ndims=1" + ones(63) + "\n$End=1\n1234", "ok"},
        {"65 axes", "dtype=0\ndims=1" + ones(64) + "\n$End=1\n1234", "E_BAD_DIMS"},
        {"$END", "dtype=0\ndims=1\n$END=1\n1234", "ok"},
        {"an end before anything else is a key like others", "$End=1\ndtype=0\ndims=1\n$End=1\n1234", "ok"},
        {"a line without =", "dtype=0\nhello\ndims=1\n$End=1\n1234", "E_BAD_MAGIC"},
        {"a line without a key", "dtype=0\n=1\ndims=1\n$End=1\n1234", "E_BAD_MAGIC"},
        {"a first line without =", "dtype\ndims=1\n$End=1\n1234", "E_BAD_MAGIC"},
        {"a first line without a key", "=0\ndims=1\n$End=1\n1234", "E_BAD_MAGIC"},
        {"a key with all that it may have", "_A-z.9$=0\ndtype=0\ndims=1\n$End=1\n1234", "ok"},
        {"a key that begins with a digit", "9=0\ndtype=0\ndims=1\n$End=1\n1234", "E_BAD_MAGIC"},
        {"a first line that is cut", "dty", "E_NO_END"},
        {"no $Object.Length", "$Object.Count=1\ndtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234", "E_OBJ_RANGE"},
        {"only a length", "$Object.Length=0\ndtype=0\ndims=0\n$End=1\n", "ok"},
        {"no length but an object", "dtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234", "E_OBJ_RANGE"},
        {"a length that is no integer", header("x", "0", "1", "$Object.data=0,4\n") + "1234", "E_OBJ_RANGE"},
        {"a length below zero", header("-4", "0", "1", "$Object.data=0,4\n") + "1234", "E_OBJ_RANGE"},
        {"an object without a comma", header("4", "0", "1", "$Object.data=4\n") + "1234", "E_OBJ_RANGE"},
        {"an object that is no integer", header("4", "0", "1", "$Object.data=0,z\n") + "1234", "E_OBJ_RANGE"},
        {"an object longer than all", header("4", "0", "1", "$Object.data=0,5\n") + "1234", "E_OBJ_RANGE"},
        {"objects that overlap", header("8", "0", "1", "$Object.data=0,4\n$Object.b=3,5\n") + "12345678", "E_OBJ_RANGE"},
        {"objects with a hole", header("8", "0", "1", "$Object.data=0,4\n$Object.b=5,3\n") + "12345678", "E_OBJ_RANGE"},
        {"several objects, one of them data", header("8", "0", "1", "$Object.b=0,4\n$Object.data=4,4\n") + "12345678", "ok"},
        {"several objects, none of them data", header("8", "0", "1", "$Object.b=0,4\n$Object.c=4,4\n") + "12345678", "E_OBJ_RANGE"},
        {"one object of another name", header("4", "0", "1", "$Object.b=0,4\n") + "1234", "ok"},
        {"empty objects at one place", header("4", "0", "1", "$Object.a=0,0\n$Object.b=2,0\n$Object.data=0,4\n") + "1234", "ok"},
        {"a count that is none", "$Object.Count=x\n$Object.Length=4\ndtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234", "E_OBJ_RANGE"},
        {"no count", "$Object.Length=4\ndtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234", "ok"},
        {"another count", "$Object.Count=2\n$Object.Length=4\ndtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234", "ok"},
        {"format no integer", "format=nd\ndtype=0\ndims=1\n$End=1\n1234", "E_FORMAT"},
        {"format no integer, no data", header("0", "0", "0,3", "").replace(header("0", "0", "0,3", "").find("format=2"), 8, "format=y"), "E_FORMAT"},
        {"int4 packed", header("2", "29", "4", "$Object.data=0,2\n") + "ab", "ok"},
        {"int4 one to a byte", header("4", "29", "4", "$Object.data=0,4\n") + "abcd", "ok"},
        {"float6 packed", header("3", "38", "4", "$Object.data=0,3\n") + "abc", "ok"},
        {"four statistics", header("0", "0", "2,3", "max=1\nmin=-1\nmean=0\nl2norm=2\n"), "E_STATS_ONLY"},
        {"a value with odd bytes", "dtype=\x01\xff" + std::string(70, 'q') + "\ndims=1\n$End=1\n1234", "E_DTYPE"},
    };
    for (const auto& row : rows) {
        const auto code = code_of(scan(folder.write("row.bin", row.bytes)));
        check(code == row.code, std::string{row.id} + ": expected " + row.code + ", got " + code);
    }
}

void test_description(const Folder& folder) {
    const auto result = scan(folder.write("good.bin", kGood));
    const auto& tensor = std::get<BinTensor>(result);
    check(tensor.data_offset == 98 && tensor.nbytes == 24, "the payload is bytes 98 to 122");
    check(tensor.dims == std::vector<std::int64_t>{2, 3}, "dims in order");
    check(tensor.identity.size == 122, "identity has the size");
}

void test_long_header(const Folder& folder) {
    auto bytes = kGood;
    bytes.insert(bytes.find("$Object.data"), "pad=" + std::string(4000, 'p') + "\nmore=" + std::string(4000, 'm') + "\n");
    check(code_of(scan(folder.write("long.bin", bytes))) == "ok", "a header beyond the first read");
    auto endless = kGood.substr(0, 90) + std::string(200000, '\n');
    check(code_of(scan(folder.write("endless.bin", endless))) == "E_NO_END", "more than 256 lines");
    check(code_of(scan(folder.write("wide.bin", "a=" + std::string(200000, 'a')))) == "E_NO_END", "a line beyond 4096 bytes");
    check(code_of(scan(folder.write("wide.bin", "dtype=0\na=" + std::string(5000, 'a') + "\ndims=1\n$End=1\n1234"))) == "E_NO_END", "and one that ends");
    const auto unfinished = "dtype=0\na=" + std::string(5000, 'a');
    auto code = std::string{"ok"};
    try {
        static_cast<void>(find_header_end(std::as_bytes(std::span{unfinished.data(), unfinished.size()}), false));
    } catch (const ReadError& error) {
        code = error.code();
    }
    check(code == "E_NO_END", "a line that is too long already is not waited for");
}

void test_records(const Folder& folder) {
    auto second = kGood;
    second.replace(second.find("2,3"), 3, "3,2");
    const auto path = folder.write("records.bin", kGood + second);
    const auto first = std::get<BinTensor>(scan(path, MultiRecord::first));
    const auto last = std::get<BinTensor>(scan(path, MultiRecord::last));
    check(first.dims.front() == 2 && first.data_offset == 98, "the first record");
    check(last.dims.front() == 3 && last.data_offset == 98 + 122, "the last record");
    const auto cut = folder.write("cut.bin", kGood + second.substr(0, 110));
    check(code_of(scan(cut, MultiRecord::first)) == "ok", "a cut second record does not spoil the first");
    check(code_of(scan(cut, MultiRecord::last)) == "E_TRUNCATED", "a cut last record is an error");
    check(std::get<BinTensor>(scan(folder.write("tail.bin", kGood + "tail"))).warnings.front().starts_with("W_TRAILING: 4"), "trailing bytes");
}

void test_policies(const Folder& folder) {
    check(parse_multi_record("error") == MultiRecord::error && parse_multi_record("first") == MultiRecord::first, "words of policies");
    check(parse_multi_record("last") == MultiRecord::last && !parse_multi_record("all"), "and none other");
    const std::string tiny = "$Version=1.0\ndtype=2\ndims=0\n$Object.Length=0\n$End=1\n";
    std::string many;
    for (int i = 0; i < 65537; ++i) {
        many += tiny;
    }
    const auto path = folder.write("many.bin", many);
    const auto counted = folder.write("counted.bin", many.substr(tiny.size()));
    for (const auto policy : {MultiRecord::error, MultiRecord::first, MultiRecord::last}) {
        const auto result = scan(path, policy);
        check(std::get<ReadError>(result).reason().starts_with("more than 65536 records"), "records are counted to an end");
        check(code_of(scan(counted, policy)) == (policy == MultiRecord::error ? "E_MULTI_RECORD" : "ok"), "65536 are not too many");
    }
    const auto tail = std::get<BinTensor>(scan(folder.write("tail.bin", kGood + kGood + "tail"), MultiRecord::last));
    check(tail.warnings.size() == 2 && tail.warnings[1].starts_with("W_TRAILING"), "what follows the last record is told");
    const auto first = std::get<BinTensor>(scan(folder.write("tail.bin", kGood + kGood + "tail"), MultiRecord::first));
    check(first.warnings.size() == 1, "what follows another record is not");
    const auto described = scan(folder.write("described.bin", kGood + header("0", "0", "2,3", "")), MultiRecord::last);
    check(code_of(described) == "E_NO_DATA", "a last record without data");
    check(std::get<ReadError>(described).offset() > static_cast<std::int64_t>(kGood.size()), "its offset is that in the file");
}

void test_dtypes() {
    for (const auto& dtype : dtype_codes()) {
        check(find_dtype(dtype.code)->name == dtype.name, "a dtype is found by its code");
    }
    check(!find_dtype(28) && !find_dtype(-1), "no other code is one");
}

void test_one_write(const Folder& folder) {
    const auto head = header("4294967296", "0", "1073741824", "$Object.data=0,4294967296\n");
    const auto path = folder.write("one_write.bin", head);
    fs::resize_file(path, head.size() + 2147479552);
    const auto result = scan(path);
    const auto& error = std::get<ReadError>(result);
    check(code_of(result) == "E_TRUNCATED" && error.reason().find("the writer lost the rest") != std::string::npos, "a writer that wrote once");
}

void test_warnings(const Folder& folder) {
    const auto counts = [&](const std::string& count) {
        const auto bytes = count + "$Object.Length=4\ndtype=0\ndims=1\n$Object.data=0,4\n$End=1\n1234";
        return std::get<BinTensor>(scan(folder.write("count.bin", bytes))).warnings;
    };
    check(counts("$Object.Count=1\n").empty(), "a count that is right");
    check(counts("").front() == "W_COUNT: $Object.Count is missing, the header lists 1", "a count that is missing");
    check(counts("$Object.Count=2\n").front() == "W_COUNT: $Object.Count is 2, the header lists 1", "a count that is wrong");
    const auto packed = std::get<BinTensor>(scan(folder.write("packed.bin", header("2", "29", "4", "$Object.data=0,2\n") + "ab")));
    check(packed.packed && packed.warnings.front().starts_with("W_PACKING_ASSUMED"), "packing is told");
}

void test_opening(const Folder& folder) {
    const auto good = folder.write("good.bin", kGood);
    check(code_of(scan(folder.at("nothing.bin"))) == "E_MISSING", "missing");
    check(code_of(scan(folder.at(""))) == "E_NOT_REGULAR", "a directory");
    check(code_of(scan(std::string{"a\0b", 3})) == "E_PATH", "NUL in a path");
    check(code_of(scan("/dev/zero")) == "E_NOT_REGULAR", "a device");
    ::mkfifo(folder.at("fifo.bin").c_str(), 0600);
    check(code_of(scan(folder.at("fifo.bin"))) == "E_NOT_REGULAR", "a FIFO does not block");
    check(code_of(scan(good, MultiRecord::error, {fs::canonical(folder.at("")).string()})) == "ok", "inside the root");
    check(code_of(scan(good, MultiRecord::error, {"/nowhere"})) == "E_PATH_OUTSIDE", "outside the root");
}

void test_changes(const Folder& folder) {
    const auto path = folder.write("changing.bin", kGood);
    const auto identity = read_head(path, 16, {}).identity;
    std::array<std::byte, 24> bytes{};
    read_range(path, identity, 98, bytes);
    check(bytes.back() == std::byte{'x'}, "an unchanged file is read");
    fs::resize_file(path, 100);
    auto code = std::string{"ok"};
    try {
        read_range(path, identity, 98, bytes);
    } catch (const ReadError& error) {
        code = error.code();
    }
    check(code == "E_SHRUNK", "a shorter file is E_SHRUNK, got " + code);
}

void test_totality_over_prefixes_and_flips() {
    for (std::size_t size = 0; size <= kGood.size(); ++size) {
        for (int flip = -1; flip < 8; ++flip) {
            auto bytes = kGood.substr(0, size);
            if (flip >= 0 && size > 0) {
                bytes.back() = static_cast<char>(bytes.back() ^ (1 << flip));
            }
            try {
                const auto view = std::as_bytes(std::span{bytes.data(), bytes.size()});
                const auto end = find_header_end(view, true);
                auto parsed = parse_header(view.first(*end), bytes.size());
                check_payload(parsed);
                check(size == kGood.size(), "only the whole file is a tensor");
            } catch (const ReadError& error) {
                check(!error.reason().empty(), "every error has a reason");
            }
        }
    }
}

}  // namespace

int main() {
    const Folder folder;
    test_vectors(folder);
    test_description(folder);
    test_long_header(folder);
    test_records(folder);
    test_policies(folder);
    test_dtypes();
    test_one_write(folder);
    test_warnings(folder);
    test_opening(folder);
    test_changes(folder);
    test_totality_over_prefixes_and_flips();
    return summed_up();
}
