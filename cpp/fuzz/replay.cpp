// Runs a fuzz target over files and directories of them, with any compiler: how the committed seeds are tried by every `make test`.
//
//   replay_header cpp/fuzz/seeds/header [more ...]

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_below(const fs::path& path) {
    if (!fs::is_directory(path)) {
        return {path};
    }
    std::vector<fs::path> files{fs::directory_iterator{path}, {}};
    std::sort(files.begin(), files.end());
    return files;
}

// On the heap and as long as it is: whoever reads beyond it is seen.
std::vector<std::uint8_t> contents(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>{file}, {}};
    bytes.shrink_to_fit();
    return bytes;
}

}  // namespace

int main(int argc, char** argv) {
    LLVMFuzzerInitialize(&argc, &argv);
    std::size_t count = 0;
    for (int i = 1; i < argc; ++i) {
        for (const auto& path : files_below(argv[i])) {
            std::fprintf(stderr, "%s\n", path.c_str());
            const auto bytes = contents(path);
            LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
            LLVMFuzzerTestOneInput(bytes.data(), bytes.size());  // and once more with whatever the first time left behind
            ++count;
        }
    }
    std::printf("%zu inputs, no finding\n", count);
    return count == 0 ? 1 : 0;
}
