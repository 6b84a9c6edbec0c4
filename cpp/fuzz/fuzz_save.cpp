// The library as its host sees it: any path and attributes. Nothing is written outside the output directory, every offer is counted once, and what
// is on disk is what the reader reads back.
// Parts of an input: mode, path, format, dtype, dims, data.

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <variant>

#include "attributes.hpp"
#include "core.hpp"
#include "fastcmp/scan.hpp"
#include "fastcmp_preload.h"
#include "fuzzing.hpp"
#include "process.hpp"

namespace {

using namespace fastcmp::preload;
using fastcmp::fuzzing::expect;
namespace fs = std::filesystem;

enum Mode : unsigned { kNoData = 1, kOwnType = 2, kLegacyRoot = 4, kHugeSize = 8, kTiling = 16, kOldAbi = 32, kOnDevice = 64, kLogsRoot = 128 };

// Never destroyed as a static object is: the library writes its last word after those.
const fs::path* place = nullptr;

// Where tensors may go: the directory of the probes, and the two of the libraries of 2023, which begin their paths with them. The search
// learns those from what the library compares a path with.
std::array<fs::path, 3> outputs() { return {*place / "out" / "msit_dump" / "tensors", *place / "home" / "tensors", *place / "logs" / "tensors"}; }

__attribute__((destructor(101))) void tidy_up() {
    std::error_code none;
    if (place != nullptr) {
        fs::remove_all(*place, none);
    }
}

// Links of this very user, as a shared machine may have them: leading out, to nowhere, and in place of a tensor.
void plant(const fs::path& directory) {
    std::error_code exists;
    fs::create_directories(directory);
    fs::create_directory_symlink(*place / "outside", directory / "link", exists);
    fs::create_directory_symlink(*place / "outside" / "new", directory / "dangling", exists);
    fs::create_symlink(*place / "outside" / "file", directory / "link.bin", exists);
}

bool is_planted(const fs::path& path) { return fs::is_symlink(fs::symlink_status(path)); }

std::vector<fs::path> files_below_outputs() {
    std::vector<fs::path> files;
    for (const auto& directory : outputs()) {
        for (const auto& entry : fs::recursive_directory_iterator{directory}) {
            if (fs::is_regular_file(entry.symlink_status())) {
                files.push_back(entry.path());
            }
        }
    }
    return files;
}

void tidy(const fs::path& directory) {
    for (const auto& entry : fs::directory_iterator{directory}) {
        if (!is_planted(entry.path())) {
            fs::remove_all(entry.path());
        }
    }
    plant(directory);
}

std::size_t entries_in(const fs::path& directory) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{directory}, fs::directory_iterator{}));
}

void check_nothing_outside() {
    expect(entries_in(*place / "outside") == 0, "nothing is written through a link");
    expect(entries_in(*place) == 5 && entries_in(*place / "out") == 1, "nothing is written beside the output directory");
    for (const auto& directory : outputs()) {
        expect(entries_in(directory.parent_path()) == 1, "nothing is written beside the tensors");
    }
}

struct Offer {
    unsigned mode;
    std::string_view path, format, dtype, dims, data;
};

Text text_of(std::string_view view) { return {view.data(), view.size()}; }

// As many numbers as the text of the dims has whole groups of eight bytes; the last one is how many there are said to be.
std::vector<std::int64_t> numbers_of(std::string_view text) {
    std::vector<std::int64_t> numbers(text.size() / sizeof(std::int64_t));
    std::copy_n(text.data(), numbers.size() * sizeof(std::int64_t), reinterpret_cast<char*>(numbers.data()));
    return numbers;
}

void make(const Offer& offer) {
    const auto root = offer.mode & kLegacyRoot ? outputs()[1].string() + "/" : offer.mode & kLogsRoot ? outputs()[2].string() + "/" : std::string{};
    const auto path = root + std::string{offer.path};
    const auto abi = offer.mode & kOldAbi ? Abi::old : Abi::cxx11;
    // A copy of its own, so that reading beyond it is seen.
    const std::vector<char> data{offer.data.begin(), offer.data.end()};
    const void* bytes = offer.mode & kNoData ? nullptr : data.data();
    const auto size = offer.mode & kHugeSize ? (std::uint64_t{10} << 30) + 1 : data.size();
    if (offer.mode & kTiling) {
        save_tiling(abi, bytes, size, text_of(path));
    } else if (offer.mode & kOwnType) {
        const auto dims = numbers_of(offer.dims);
        const auto said = dims.empty() ? 0 : static_cast<std::uint64_t>(dims.back()) % 64;
        const bool on_device = (offer.mode & kOnDevice) != 0;
        save_library_tensor(abi, {static_cast<int>(offer.dtype.size()), 2, dims.data(), said, dims.size(), on_device ? bytes : nullptr,
                                  on_device ? nullptr : bytes, size, (offer.mode & kLegacyRoot) != 0}, text_of(path));
    } else {
        save_tensor(abi, text_of(offer.format), text_of(offer.dtype), text_of(offer.dims), bytes, size, text_of(path));
    }
    expect(fastcmp_preload_drain(60) == 0, "what was accepted is written");
}

std::string contents(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

// What the reader makes of a file that the library wrote from text attributes.
void check_read_back(const fs::path& path, const Offer& offer) {
    const auto has_data = !(offer.mode & kNoData) && !offer.data.empty();
    const auto data = has_data ? offer.data : std::string_view{};
    expect(contents(path) == tensor_header(offer.format, offer.dtype, offer.dims, data.size()) + std::string{data}, "a file is its header and its data");
    const auto name = path.string();
    const auto result = fastcmp::scan_files(std::span{&name, 1}, fastcmp::MultiRecord::error, {}).front();
    const auto dtype = fastcmp::parse_integer(offer.dtype);
    const auto format = fastcmp::parse_integer(offer.format);
    std::vector<std::int64_t> dims;
    bool is_plain = dtype && format && fastcmp::find_dtype(*dtype);
    for (auto rest = offer.dims; !rest.empty() && is_plain;) {
        const auto comma = std::min(rest.find(','), rest.size());
        const auto extent = fastcmp::parse_integer(rest.substr(0, comma));
        is_plain = extent && *extent >= 0 && (comma == rest.size() || comma + 1 < rest.size()) && dims.size() < fastcmp::kMaxAxes;
        dims.push_back(extent.value_or(0));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    unsigned __int128 need = is_plain ? fastcmp::find_dtype(*dtype)->unpacked_bytes() : 0;
    for (const auto extent : dims) {
        need = std::min(need * static_cast<unsigned __int128>(extent), static_cast<unsigned __int128>(1) << 64);
    }
    const auto* tensor = std::get_if<fastcmp::BinTensor>(&result);
    if (is_plain && need == data.size()) {
        expect(tensor != nullptr || (need == 0 && !dims.empty()), "a tensor that the library wrote is a tensor to the reader");
    }
    if (tensor != nullptr) {
        expect(is_plain && tensor->dims == dims && tensor->dtype_code == *dtype && tensor->format == *format && tensor->nbytes == data.size() &&
                   tensor->data_offset + tensor->nbytes == tensor->identity.size,
               "it reads back as it was written");
    }
}

constexpr std::array kOutcomes{Count::saved,      Count::description_only, Count::not_selected, Count::refused_path, Count::refused_size,
                               Count::refused_attributes, Count::no_device_copy, Count::over_limit, Count::low_disk, Count::write_failed,
                               Count::stalled,    Count::already_saved};

std::uint64_t outcomes(const Counters& counters) {
    std::uint64_t sum = 0;
    for (const auto count : kOutcomes) {
        sum += counters[count];
    }
    return sum;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    auto name = (fs::temp_directory_path() / "fastcmp_fuzz_XXXXXX").string();
    expect(::mkdtemp(name.data()) != nullptr, "a temporary directory can be made");
    place = new fs::path{name};
    for (const char* directory : {"beat", "home", "logs", "out", "outside"}) {
        fs::create_directory(*place / directory);
    }
    for (const auto& directory : outputs()) {
        plant(directory);
    }
    for (const char* variable : {"FASTCMP_DUMP", "FASTCMP_SELECT", "FASTCMP_ALLOWLIST", "FASTCMP_LEGACY_ALLOWLIST", "FASTCMP_DUMP_LIMIT", "ATB_TIMESTAMP",
                                 "ATB_DEVICE_ID", "ATB_DUMP_TYPE", "FASTCMP_RESAVE", "AIT_CMP_TASK_ID"}) {
        ::unsetenv(variable);
    }
    const auto set = [](const char* variable, const std::string& value) { ::setenv(variable, value.c_str(), 1); };
    set("FASTCMP_DUMP_DIR", *place / "beat");
    set("ATB_OUTPUT_DIR", *place / "out");
    set("ACLTRANSFORMER_HOME_PATH", *place / "home");
    set("ASDOPS_LOG_TO_FILE_DIR", *place / "logs");
    set("FASTCMP_MIN_FREE", "0");
    set("ATB_SAVE_TENSOR", "1");
    set("ATB_SAVE_TENSOR_RANGE", "all");
    set("ATB_SAVE_TENSOR_PART", "2");
    set("ATB_SAVE_TILING", "1");
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto parts = fastcmp::fuzzing::split_parts(fastcmp::fuzzing::as_text(data, size), 6);
    const Offer offer{parts[0].empty() ? 0U : static_cast<unsigned char>(parts[0][0]), parts[1], parts[2], parts[3], parts[4], parts[5]};
    const auto& counters = Process::get().counters;
    const auto offered = counters[Count::offered];
    const auto settled = outcomes(counters);
    const auto written = counters[Count::saved] + counters[Count::description_only];
    make(offer);
    check_nothing_outside();
    expect(counters[Count::internal_error] == 0 && counters[Count::reentered] == 0, "no exception reaches the guard");
    expect(outcomes(counters) - settled == counters[Count::offered] - offered, "every offer has exactly one outcome");
    const auto files = files_below_outputs();
    expect(files.size() == counters[Count::saved] + counters[Count::description_only] - written, "there is a file for each tensor saved, and no other");
    if (files.size() == 1 && !(offer.mode & (kOwnType | kTiling))) {
        check_read_back(files.front(), offer);
    }
    for (const auto& directory : outputs()) {
        tidy(directory);
    }
    return 0;
}
