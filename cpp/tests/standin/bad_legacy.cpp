// What a broken or hostile libacltransformer might hand over.

#include <limits>

#include "acltransformer.hpp"
#include "bad_input.hpp"
#include "tensors.hpp"

namespace standin {
namespace {

constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();

std::string below(const std::string& name) {
    return environment("ACLTRANSFORMER_HOME_PATH", ".") + "/tensors/thread_1/0/0_BadTorch/after/" + name;
}

void save(const std::string& path, auto change) {
    auto tensor = asdops_tensor({kSix, sizeof kSix, 2, 0, {2, 3}});
    change(tensor);
    AclTransformer::TensorUtil::SaveTensor(tensor, path);
}

void save_to(const std::string& path) {
    save(path, [](AsdOps::Tensor&) {});
}

const BadInput kInputs[] = {
    {"null data", [] { save(below("null.bin"), [](AsdOps::Tensor& tensor) { tensor.data = nullptr; }); }},
    {"size 0", [] { save(below("empty.bin"), [](AsdOps::Tensor& tensor) { tensor.dataSize = 0; }); }},
    {"11 GiB claimed", [] { save(below("huge.bin"), [](AsdOps::Tensor& tensor) { tensor.dataSize = kElevenGiB; }); }},
    {"2^64-1 bytes claimed", [] { save(below("max.bin"), [](AsdOps::Tensor& tensor) { tensor.dataSize = kMax; }); }},
    {"49 dims", [] { save(below("49_dims.bin"), [](AsdOps::Tensor& tensor) { tensor.dimCount = 49; }); }},
    {"2^64-1 dims", [] { save(below("dims.bin"), [](AsdOps::Tensor& tensor) { tensor.dimCount = kMax; }); }},
    {"negative dims", [] { save(below("negative.bin"), [](AsdOps::Tensor& tensor) { tensor.dims[0] = -2; }); }},
    {"dims of the largest numbers",
     [] {
         save(below("large.bin"), [](AsdOps::Tensor& tensor) {
             std::ranges::fill(tensor.dims, std::numeric_limits<std::int64_t>::min());
             tensor.dimCount = AsdOps::kMaxDims;
         });
     }},
    {"path with ..", [] { save_to(below("../../../../../../standin_outside/dotdot.bin")); }},
    {"path with .. at the front", [] { save_to("../standin_outside/front.bin"); }},
    {"absolute path elsewhere", [] { save_to(outside("absolute.bin")); }},
    {"a name that begins as the home's",
     [] { save_to(environment("ACLTRANSFORMER_HOME_PATH", "home") + "/tensors_standin_outside/prefix.bin"); }},
    {"empty path", [] { save_to(""); }},
    {"path that is /", [] { save_to("/"); }},
    {"path ends in /", [] { save_to(below("directory/")); }},
    {"path with a long component", [] { save_to(below(std::string(300, 'x') + ".bin")); }},
    {"path too long", [] { save_to(below(std::string(5000, 'x'))); }},
    {"path with a NUL", [] { save_to(below(std::string("nul\0/../x.bin", 13))); }},
    {"path with a line end", [] { save_to(below("line\nend.bin")); }},
    {"null data through StoreUtil", [] { AclTransformer::StoreUtil::SaveTensor(AsdOps::Tensor{}, below("store_null.bin")); }},
};

}  // namespace

std::span<const BadInput> bad_inputs() { return kInputs; }

}  // namespace standin
