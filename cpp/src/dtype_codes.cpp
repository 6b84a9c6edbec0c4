#include "fastcmp/dtype_codes.hpp"

#include <algorithm>
#include <array>

namespace fastcmp {
namespace {

constexpr std::array kDtypes{
    DtypeCode{0, 32, "float32"},         DtypeCode{1, 16, "float16"},        DtypeCode{2, 8, "int8"},
    DtypeCode{3, 32, "int32"},           DtypeCode{4, 8, "uint8"},           DtypeCode{6, 16, "int16"},
    DtypeCode{7, 16, "uint16"},          DtypeCode{8, 32, "uint32"},         DtypeCode{9, 64, "int64"},
    DtypeCode{10, 64, "uint64"},         DtypeCode{11, 64, "float64"},       DtypeCode{12, 8, "bool"},
    DtypeCode{16, 64, "complex64"},      DtypeCode{17, 128, "complex128"},   DtypeCode{27, 16, "bfloat16"},
    DtypeCode{29, 4, "int4"},            DtypeCode{30, 1, "uint1"},          DtypeCode{33, 32, "complex32"},
    DtypeCode{35, 8, "float8_e5m2"},     DtypeCode{36, 8, "float8_e4m3fn"},  DtypeCode{37, 8, "float8_e8m0fnu"},
    DtypeCode{38, 6, "float6_e3m2fn"},   DtypeCode{39, 6, "float6_e2m3fn"},  DtypeCode{40, 4, "float4_e2m1fn"},
};

}  // namespace

std::span<const DtypeCode> dtype_codes() noexcept { return kDtypes; }

std::optional<DtypeCode> find_dtype(std::int64_t code) noexcept {
    const auto found = std::ranges::find(kDtypes, code, &DtypeCode::code);
    if (found == kDtypes.end()) {
        return std::nullopt;
    }
    return *found;
}

}  // namespace fastcmp
