// From a tensor of the library to the preload library's door. The three weak forms are exported and may be overridden themselves.

#include <memory>

#include "atb.hpp"
#include "bin_file.hpp"
#include "device.hpp"
#include "tensor_text.hpp"

namespace atb {

void StoreUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath) { standin::write_bin_file(tensor, filePath); }

void StoreUtil::SaveTensor(const atb::Tensor& tensor, const std::string& filePath) {
    SaveTensor(std::to_string(tensor.format), std::to_string(tensor.dtype), standin::join(standin::dims_of(tensor)), tensor.deviceData,
               tensor.dataSize, filePath);
}

void StoreUtil::SaveTensor(const Mki::Tensor& tensor, const std::string& filePath) {
    SaveTensor(std::to_string(tensor.format), std::to_string(tensor.dtype), standin::join(tensor.dims), tensor.data, tensor.dataSize,
               filePath);
}

void StoreUtil::SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims, const void* deviceData,
                           std::uint64_t dataSize, const std::string& filePath) {
    if (deviceData == nullptr || dataSize == 0 || dataSize > standin::kMaxTensorBytes || !Probe::IsSaveTensorData()) {
        Probe::SaveTensor(format, dtype, dims, nullptr, dataSize, filePath);
        return;
    }
    const auto host = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(dataSize));
    const auto failed =
        aclrtMemcpy(host.get(), static_cast<std::size_t>(dataSize), deviceData, static_cast<std::size_t>(dataSize), standin::kDeviceToHost);
    Probe::SaveTensor(format, dtype, dims, failed != 0 ? nullptr : host.get(), dataSize, filePath);
}

}  // namespace atb
