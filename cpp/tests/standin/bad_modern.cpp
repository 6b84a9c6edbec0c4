// What a broken or hostile libatb might hand over. All of it goes to the probe as it is, whatever the probe answered before.

#include <limits>

#include "atb.hpp"
#include "bad_input.hpp"
#include "device.hpp"
#include "tensors.hpp"

namespace standin {
namespace {

constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();

std::string below(const std::string& name) { return "0_" + std::to_string(::getpid()) + "/0/0_Bad/after/" + name; }

void save_to(const std::string& path) { atb::Probe::SaveTensor("2", "0", "2,3", kSix, sizeof kSix, path); }

void save_as(const std::string& name, const std::string& format, const std::string& dtype, const std::string& dims) {
    atb::Probe::SaveTensor(format, dtype, dims, kSix, sizeof kSix, below(name));
}

atb::Tensor six() { return atb_tensor({kSix, sizeof kSix, 2, 0, {2, 3}}); }

void save_store(const std::string& name, auto change) {
    auto tensor = six();
    change(tensor);
    atb::StoreUtil::SaveTensor(tensor, below(name));
}

void save_asdops(const std::string& path, auto change) {
    auto tensor = asdops_tensor({kSix, sizeof kSix, 2, 0, {2, 3}});
    change(tensor);
    atb::StoreUtil::SaveTensor(tensor, path);
}

void save_mki() {
    Mki::Tensor tensor;
    tensor.dims.assign(60, 1);
    tensor.data = on_device(kSix);
    tensor.dataSize = sizeof kSix;
    atb::StoreUtil::SaveTensor(tensor, below("mki.bin"));
}

std::string whole(const std::string& name) {
    return environment("ASDOPS_LOG_TO_FILE_DIR", "atb_temp") + "/tensors/" + std::to_string(::getpid()) + "_1/0/0_Bad/after/" + name;
}

const BadInput kInputs[] = {
    {"null data", [] { atb::Probe::SaveTensor("2", "0", "2,3", nullptr, sizeof kSix, below("null.bin")); }},
    {"size 0", [] { atb::Probe::SaveTensor("2", "0", "0,3", kSix, 0, below("empty.bin")); }},
    {"null data and size 0", [] { atb::Probe::SaveTensor("2", "0", "", nullptr, 0, below("nothing.bin")); }},
    {"11 GiB claimed", [] { atb::Probe::SaveTensor("2", "0", "2,3", kSix, kElevenGiB, below("huge.bin")); }},
    {"2^64-1 bytes claimed", [] { atb::Probe::SaveTensor("2", "0", "2,3", kSix, kMax, below("max.bin")); }},
    {"path with ..", [] { save_to("0_1/../../standin_outside/dotdot.bin"); }},
    {"path that is ..", [] { save_to(".."); }},
    {"path with many ..", [] { save_to(below("../../../../../../../../../../standin_outside/many.bin")); }},
    {"absolute path", [] { save_to(outside("absolute.bin")); }},
    {"absolute path with //", [] { save_to("/" + outside("slashes.bin")); }},
    {"empty path", [] { save_to(""); }},
    {"path that is /", [] { save_to("/"); }},
    {"path ends in /", [] { save_to(below("directory/")); }},
    {"path with a long component", [] { save_to(below(std::string(300, 'x') + ".bin")); }},
    {"path too long", [] { save_to(below(std::string(5000, 'x'))); }},
    {"path of a million directories",
     [] {
         std::string path;
         for (int index = 0; index < 1'000'000; ++index) {
             path += "d/";
         }
         save_to(path + "deep.bin");
     }},
    {"path with a NUL", [] { save_to(below(std::string("nul\0../x.bin", 12))); }},
    {"path with a line end", [] { save_to(below("line\nend.bin")); }},
    {"path that is not UTF-8", [] { save_to(below("\xff\xfe.bin")); }},
    {"dims of 10000 characters", [] { save_as("dims.bin", "2", "0", std::string(10000, '1')); }},
    {"dims with a line end", [] { save_as("dims_line.bin", "2", "0", "2,3\n$End=1\n"); }},
    {"dims with an =", [] { save_as("dims_equals.bin", "2", "0", "2=3"); }},
    {"negative dims", [] { save_as("dims_negative.bin", "2", "0", "-2,-3"); }},
    {"dtype is a word", [] { save_as("dtype.bin", "2", "bfloat16\r", "2,3"); }},
    {"format is empty", [] { save_as("format.bin", "", "", "2,3"); }},
    {"a million ids",
     [] {
         const std::vector<std::int64_t> ids(1'000'000, 7);
         static_cast<void>(atb::Probe::IsTensorNeedSave(ids, "LinearOperation"));
     }},
    {"no ids and no name", [] { static_cast<void>(atb::Probe::IsTensorNeedSave({}, "")); }},
    {"negative and huge ids",
     [] {
         static_cast<void>(atb::Probe::IsTensorNeedSave(
             {std::numeric_limits<std::int64_t>::min(), -1, std::numeric_limits<std::int64_t>::max()}, std::string(1'000'000, 'A')));
     }},
    {"execute count 2^64-1", [] { static_cast<void>(atb::Probe::IsExecuteCountInRange(kMax)); }},
    {"directory with ..", [] { static_cast<void>(atb::Probe::IsSaveTensorInSpecificDir("../../standin_outside")); }},
    {"directory of a megabyte", [] { static_cast<void>(atb::Probe::IsSaveTensorInSpecificDir(std::string(1'000'000, '/'))); }},
    {"tiling without data", [] { atb::Probe::SaveTiling(nullptr, 100, below("kernel_tilingdata.bin")); }},
    {"tiling with ..",
     [] { atb::Probe::SaveTiling(reinterpret_cast<const std::uint8_t*>(kSix), sizeof kSix, "../standin_outside/tiling.bin"); }},
    {"parameters with ..", [] { atb::Probe::SaveParam("{}", "../standin_outside/op_param.json"); }},
    {"atb::Tensor, null device pointer", [] { save_store("store_null.bin", [](atb::Tensor& tensor) { tensor.deviceData = nullptr; }); }},
    {"atb::Tensor, 2^64-1 dims", [] { save_store("store_dims.bin", [](atb::Tensor& tensor) { tensor.dimNum = kMax; }); }},
    {"atb::Tensor, 11 GiB claimed", [] { save_store("store_huge.bin", [](atb::Tensor& tensor) { tensor.dataSize = kElevenGiB; }); }},
    {"Mki::Tensor, 60 dims", save_mki},
    {"AsdOps::Tensor, null data", [] { save_asdops(whole("null.bin"), [](AsdOps::Tensor& tensor) { tensor.data = nullptr; }); }},
    {"AsdOps::Tensor, 2^64-1 dims", [] { save_asdops(whole("dims.bin"), [](AsdOps::Tensor& tensor) { tensor.dimCount = kMax; }); }},
    {"AsdOps::Tensor, 11 GiB claimed",
     [] { save_asdops(whole("huge.bin"), [](AsdOps::Tensor& tensor) { tensor.dataSize = kElevenGiB; }); }},
    {"AsdOps::Tensor, path with ..", [] { save_asdops(whole("../../../../../../standin_outside/asdops.bin"), [](AsdOps::Tensor&) {}); }},
};

}  // namespace

std::span<const BadInput> bad_inputs() { return kInputs; }

}  // namespace standin
