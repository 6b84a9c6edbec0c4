// Calls the replaced functions as an acceleration library of this file's C++ ABI would; compiled once for each.

#include <string>
#include <vector>

#include "acceleration_library.hpp"

#if _GLIBCXX_USE_CXX11_ABI
#define FASTCMP_SAVE save_by_new_abi
#else
#define FASTCMP_SAVE save_by_old_abi
#endif

bool FASTCMP_SAVE(const char* path, const void* data, unsigned long size, const char* dims) {
    const std::vector<std::int64_t> ids{0, 1, 2};
    const std::string where{path};
    const bool needed = atb::Probe::IsTensorNeedSave(ids, std::string{"NormOperation"}) && atb::Probe::IsExecuteCountInRange(0) &&
                        atb::Probe::IsSaveTensorInSpecificDir(where.substr(0, where.rfind('/')));
    atb::Probe::SaveTensor(std::string{"2"}, std::string{"0"}, std::string{dims}, data, size, where);
    return needed;
}
