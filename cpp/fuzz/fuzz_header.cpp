// libFuzzer entry: any bytes are a header, an error with a code, or a wish for more bytes; never anything else.
//
//   cmake -S cpp -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DFASTCMP_PYTHON=OFF -DFASTCMP_FUZZ=ON -DFASTCMP_SANITIZE=ON
//   cmake --build build/fuzz && build/fuzz/fuzz_header -max_len=8192

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "fastcmp/error.hpp"
#include "fastcmp/header.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    try {
        const auto end = fastcmp::find_header_end(bytes, true);
        if (!end) {
            std::abort();  // a whole file never asks for more
        }
        auto header = fastcmp::parse_header(bytes.first(*end), size);
        const bool inside = header.data_offset <= size && header.nbytes <= size - header.data_offset;
        fastcmp::check_payload(header);
        if (!inside) {
            std::abort();  // accepted bytes lie in the file
        }
    } catch (const fastcmp::ReadError& error) {
        if (error.reason().empty() || error.offset() > static_cast<std::int64_t>(size)) {
            std::abort();
        }
    }
    return 0;
}
