// The replaced functions, in the C++ ABI that this file is compiled for (once with _GLIBCXX_USE_CXX11_ABI=0, once with 1).
// Nothing is decided here: arguments are read through their references and handed on as plain pointers.
//
// Functions that take no string have one name in both ABIs; they come with FASTCMP_PLAIN_HOOKS, which is set in one of the two.

#include "acceleration_library.hpp"
#include "core.hpp"

namespace {

using fastcmp::preload::LibraryTensor;
using fastcmp::preload::Text;

#if _GLIBCXX_USE_CXX11_ABI
constexpr auto kAbi = fastcmp::preload::Abi::cxx11;
#else
constexpr auto kAbi = fastcmp::preload::Abi::old;
#endif

inline Text text(const std::string& string) { return {string.data(), string.size()}; }

inline LibraryTensor described(const AsdOps::Tensor& tensor) {
    return {tensor.dtype, tensor.format,    tensor.dims,      tensor.dim_count, AsdOps::Tensor::kMaxDims,
            tensor.data,  tensor.host_data, tensor.data_size, true};
}

inline LibraryTensor described(const atb::Tensor& tensor) {
    return {tensor.dtype,       tensor.format,    tensor.dims,      tensor.dim_count, atb::Tensor::kMaxDims,
            tensor.device_data, tensor.host_data, tensor.data_size, false};
}

}  // namespace

namespace core = fastcmp::preload;

void AclTransformer::TensorUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& path) {
    core::save_library_tensor(kAbi, described(tensor), text(path));
}
void AclTransformer::StoreUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& path) {
    core::save_library_tensor(kAbi, described(tensor), text(path));
}
void atb::StoreUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& path) {
    core::save_library_tensor(kAbi, described(tensor), text(path));
}
void atb::StoreUtil::SaveTensor(const atb::Tensor& tensor, const std::string& path) {
    core::save_library_tensor(kAbi, described(tensor), text(path));
}

bool atb::Probe::IsTensorNeedSave(const std::vector<std::int64_t>& ids, const std::string& operation) {
    return core::is_tensor_needed(kAbi, ids.data(), ids.size(), text(operation));
}
bool atb::Probe::IsSaveTensorInSpecificDir(const std::string& directory) { return core::is_directory_needed(kAbi, text(directory)); }
void atb::Probe::SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims, const void* host_data,
                            std::uint64_t data_size, const std::string& path) {
    core::save_tensor(kAbi, text(format), text(dtype), text(dims), host_data, data_size, text(path));
}
void atb::Probe::SaveTiling(const std::uint8_t* data, std::uint64_t data_size, const std::string& path) {
    core::save_tiling(kAbi, data, data_size, text(path));
}

// Asked for by other tools of the library's makers; fastcmp needs none of it.
void atb::Probe::SaveParam(const std::string&, const std::string&) {}
void atb::Probe::ReportOperationIOTensor(const std::size_t, const std::string&, const std::string&, const std::vector<Tensor>&,
                                         const std::vector<Tensor>&) {}
void atb::Probe::ReportOperationSetupStatistic(const std::size_t, const std::string&, const std::string&) {}
void atb::Probe::ReportOperationExecuteStatistic(const std::size_t, const std::string&, const std::string&) {}
void atb::Probe::ReportKernelIOTensor(const std::size_t, const std::string&, const std::string&, const std::vector<Tensor>&,
                                      const std::vector<Tensor>&) {}
void atb::Probe::ReportOverflowKernel(const std::string&) {}
void atb::Probe::ReportOperationGraph(const std::string&, const std::string&) {}
bool atb_speed::SpeedProbe::IsReportModelTopoInfo(const std::string&) { return false; }
void atb_speed::SpeedProbe::ReportModelTopoInfo(const std::string&, const std::string&) {}

#ifdef FASTCMP_PLAIN_HOOKS
bool atb::Probe::IsSaveTensorData() { return core::is_data_needed(); }
bool atb::Probe::IsSaveTensorDesc() { return core::is_description_needed(); }
bool atb::Probe::IsExecuteCountInRange(const std::uint64_t execute_count) { return core::is_round_needed(execute_count); }
bool atb::Probe::IsSaveTensorBefore() { return core::is_before_needed(); }
bool atb::Probe::IsSaveTensorAfter() { return core::is_after_needed(); }
bool atb::Probe::IsSaveChild() { return core::are_children_needed(); }
bool atb::Probe::IsSaveIntensor() { return core::are_inputs_needed(); }
bool atb::Probe::IsSaveOuttensor() { return core::are_outputs_needed(); }
bool atb::Probe::IsSaveTiling() { return core::is_tiling_needed(); }
void atb::Probe::UpdateConfig() {}

bool atb::Probe::IsSaveParam() { return false; }
bool atb::Probe::ReportOperationIOTensorEnable() { return false; }
bool atb::Probe::ReportOperationStatisticEnable() { return false; }
bool atb::Probe::ReportKernelIOTensorEnable() { return false; }
bool atb::Probe::IsOverflowCheck() { return false; }
bool atb::Probe::IsOverflowStop() { return false; }
bool atb::Probe::ReportOperationGraphEnable() { return false; }
#endif
