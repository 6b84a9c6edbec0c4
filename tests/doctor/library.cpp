// A library in the manner of libatb.so, as small as one can be: functions that a preloaded library may replace, with bodies that select
// nothing, and one that calls them. The macros make the variants of it that the tests name.
#include <cstdint>
#include <string>
#include <vector>

#ifndef VISIBILITY
#define VISIBILITY "default"
#endif
#define REPLACEABLE __attribute__((visibility(VISIBILITY)))

#ifdef OTHER_SIGNATURE
#define MORE , int
#define MORE_GIVEN , 7
#else
#define MORE
#define MORE_GIVEN
#endif

#ifdef LEGACY

namespace AsdOps {
struct Tensor {
    char bytes[440];
};
}  // namespace AsdOps

namespace AclTransformer {
struct REPLACEABLE TensorUtil {
    static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& path MORE);
};
#ifndef ONLY_USES
void TensorUtil::SaveTensor(const AsdOps::Tensor&, const std::string& MORE) {}
#endif
}  // namespace AclTransformer

extern "C" __attribute__((visibility("default"))) int run() {
    static const AsdOps::Tensor tensor{};
    AclTransformer::TensorUtil::SaveTensor(tensor, "tensors/thread_1/0/0_Model/after/outTensor0.bin" MORE_GIVEN);
    return 1;
}

#else

namespace atb {
struct REPLACEABLE Probe {
    static bool IsTensorNeedSave(const std::vector<std::int64_t>& ids, const std::string& type MORE);
    static bool IsExecuteCountInRange(std::uint64_t count);
    static bool IsSaveTensorData();
    static bool IsSaveTensorInSpecificDir(const std::string& directory MORE);
    static void SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims, const void* data, std::uint64_t size,
                           const std::string& path MORE);
};
struct Strange;
struct StoreUtil {
    __attribute__((weak)) static void SaveTensor(const Strange& tensor, const std::string& path);
};
__attribute__((weak)) void StoreUtil::SaveTensor(const Strange&, const std::string&) {}  // of a tensor that fastcmp does not know
#ifndef ONLY_USES
bool Probe::IsTensorNeedSave(const std::vector<std::int64_t>&, const std::string& MORE) { return false; }
bool Probe::IsExecuteCountInRange(std::uint64_t) { return false; }
bool Probe::IsSaveTensorData() { return false; }
bool Probe::IsSaveTensorInSpecificDir(const std::string& MORE) { return true; }
void Probe::SaveTensor(const std::string&, const std::string&, const std::string&, const void*, std::uint64_t, const std::string& MORE) {}
#endif
}  // namespace atb

// Offers one tensor of 8 bytes in round 0; how often it was told to.
extern "C" __attribute__((visibility("default"))) int run() {
    static const char data[8]{};
    const std::string directory = "0_1/0/0_Model/after";
    const bool is_asked = atb::Probe::IsTensorNeedSave({0}, "Model" MORE_GIVEN);
    if (!atb::Probe::IsExecuteCountInRange(0) || !is_asked || !atb::Probe::IsSaveTensorInSpecificDir(directory MORE_GIVEN)) {
        return 0;
    }
    atb::Probe::SaveTensor("2", "0", "2", data, atb::Probe::IsSaveTensorData() ? sizeof data : 0, directory + "/outTensor0.bin" MORE_GIVEN);
    return 1;
}

#endif

#ifdef PROGRAM
int main() { return run(); }
#endif
