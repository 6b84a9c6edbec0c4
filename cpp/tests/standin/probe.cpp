// The bodies that libatb has when nothing is preloaded: nobody wants a tensor.

#include "atb.hpp"
#include "tensor_text.hpp"

namespace atb {

bool Probe::IsTensorNeedSave(const std::vector<std::int64_t>&, const std::string&) { return false; }
bool Probe::IsSaveTensorData() { return false; }
bool Probe::IsSaveTensorDesc() { return false; }
bool Probe::IsExecuteCountInRange(const std::uint64_t) { return false; }
bool Probe::IsSaveTensorBefore() { return false; }
bool Probe::IsSaveTensorAfter() { return false; }
void Probe::SaveTensor(const std::string&, const std::string&, const std::string&, const void*, std::uint64_t, const std::string&) {}

bool Probe::IsSaveTiling() { return false; }
void Probe::SaveTiling(const std::uint8_t*, std::uint64_t, const std::string&) {}
bool Probe::IsSaveParam() { return false; }
void Probe::SaveParam(const std::string&, const std::string&) {}

bool Probe::ReportOperationIOTensorEnable() { return false; }
void Probe::ReportOperationIOTensor(const std::size_t, const std::string&, const std::string&, const std::vector<Probe::Tensor>&,
                                    const std::vector<Probe::Tensor>&) {}
bool Probe::ReportOperationStatisticEnable() { return false; }
void Probe::ReportOperationSetupStatistic(const std::size_t, const std::string&, const std::string&) {}
void Probe::ReportOperationExecuteStatistic(const std::size_t, const std::string&, const std::string&) {}
bool Probe::ReportKernelIOTensorEnable() { return false; }
void Probe::ReportKernelIOTensor(const std::size_t, const std::string&, const std::string&, const std::vector<Probe::Tensor>&,
                                 const std::vector<Probe::Tensor>&) {}
bool Probe::ReportOperationGraphEnable() { return false; }
void Probe::ReportOperationGraph(const std::string&, const std::string&) {}

bool Probe::IsOverflowCheck() { return false; }
bool Probe::IsOverflowStop() { return false; }
void Probe::ReportOverflowKernel(const std::string&) {}

void Probe::UpdateConfig() {}
bool Probe::IsSaveTensorInSpecificDir(const std::string&) { return true; }

void Probe::AsdopsTensorToProbeTensor(const Mki::Tensor& tensor, Probe::Tensor& probeTensor, const std::string& filePath) {
    probeTensor.dtype = std::to_string(tensor.dtype);
    probeTensor.format = std::to_string(tensor.format);
    probeTensor.shape = standin::join(tensor.dims);
    probeTensor.filePath = filePath;
}

void Probe::AtbTensorToProbeTensor(const atb::Tensor& tensor, Probe::Tensor& probeTensor, const std::string& filePath) {
    probeTensor.dtype = std::to_string(tensor.dtype);
    probeTensor.format = std::to_string(tensor.format);
    probeTensor.shape = standin::join(standin::dims_of(tensor));
    probeTensor.filePath = filePath;
}

}  // namespace atb

namespace atb_speed {

bool SpeedProbe::IsReportModelTopoInfo(const std::string&) { return false; }
void SpeedProbe::ReportModelTopoInfo(const std::string&, const std::string&) {}

}  // namespace atb_speed
