// What the acceleration libraries declare of the functions that are replaced here, and of the two tensors whose layout is known.
//
// Read through const references only, never copied, made or destroyed: both C++ ABIs are compiled into one library, and a member
// function of std::vector<Probe::Tensor> would have one name and two meanings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#define FASTCMP_EXPORT __attribute__((visibility("default")))

namespace AsdOps {

struct Tensor {
    static constexpr std::size_t kMaxDims = 48;

    int dtype;
    int format;
    std::int64_t dims[kMaxDims + 1];
    std::uint64_t dim_count;
    void* data;  // on the device
    std::uint64_t data_size;
    std::uint64_t position;
    void* host_data;
};
static_assert(sizeof(Tensor) == 440 && offsetof(Tensor, dims) == 8 && offsetof(Tensor, dim_count) == 400 && offsetof(Tensor, data) == 408 &&
              offsetof(Tensor, host_data) == 432);

}  // namespace AsdOps

namespace AclTransformer {

class TensorUtil {
public:
    FASTCMP_EXPORT static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& path);
};

class StoreUtil {
public:
    FASTCMP_EXPORT static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& path);
};

}  // namespace AclTransformer

namespace atb {

struct Tensor {
    static constexpr std::size_t kMaxDims = 8;

    int dtype;
    int format;
    std::int64_t dims[kMaxDims];
    std::uint64_t dim_count;
    void* device_data;
    void* host_data;
    std::uint64_t data_size;
};
static_assert(sizeof(Tensor) == 104 && offsetof(Tensor, dim_count) == 72 && offsetof(Tensor, device_data) == 80 &&
              offsetof(Tensor, data_size) == 96);

class StoreUtil {
public:
    FASTCMP_EXPORT static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& path);
    FASTCMP_EXPORT static void SaveTensor(const Tensor& tensor, const std::string& path);
};

class Probe {
public:
    struct Tensor;  // four strings; never looked into

    FASTCMP_EXPORT static bool IsTensorNeedSave(const std::vector<std::int64_t>& ids, const std::string& operation);
    FASTCMP_EXPORT static bool IsSaveTensorData();
    FASTCMP_EXPORT static bool IsSaveTensorDesc();
    FASTCMP_EXPORT static bool IsExecuteCountInRange(const std::uint64_t execute_count);
    FASTCMP_EXPORT static bool IsSaveTensorBefore();
    FASTCMP_EXPORT static bool IsSaveTensorAfter();
    FASTCMP_EXPORT static bool IsSaveTensorInSpecificDir(const std::string& directory);
    FASTCMP_EXPORT static bool IsSaveChild();
    FASTCMP_EXPORT static bool IsSaveIntensor();
    FASTCMP_EXPORT static bool IsSaveOuttensor();
    FASTCMP_EXPORT static void SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims,
                                          const void* host_data, std::uint64_t data_size, const std::string& path);
    FASTCMP_EXPORT static bool IsSaveTiling();
    FASTCMP_EXPORT static void SaveTiling(const std::uint8_t* data, std::uint64_t data_size, const std::string& path);
    FASTCMP_EXPORT static bool IsSaveParam();
    FASTCMP_EXPORT static void SaveParam(const std::string& parameters, const std::string& path);
    FASTCMP_EXPORT static bool ReportOperationIOTensorEnable();
    FASTCMP_EXPORT static void ReportOperationIOTensor(const std::size_t execute_count, const std::string& operation,
                                                       const std::string& parameters, const std::vector<Tensor>& inputs,
                                                       const std::vector<Tensor>& outputs);
    FASTCMP_EXPORT static bool ReportOperationStatisticEnable();
    FASTCMP_EXPORT static void ReportOperationSetupStatistic(const std::size_t execute_count, const std::string& operation,
                                                             const std::string& statistic);
    FASTCMP_EXPORT static void ReportOperationExecuteStatistic(const std::size_t execute_count, const std::string& operation,
                                                               const std::string& statistic);
    FASTCMP_EXPORT static bool ReportKernelIOTensorEnable();
    FASTCMP_EXPORT static void ReportKernelIOTensor(const std::size_t execute_count, const std::string& operation,
                                                    const std::string& parameters, const std::vector<Tensor>& inputs,
                                                    const std::vector<Tensor>& outputs);
    FASTCMP_EXPORT static bool IsOverflowCheck();
    FASTCMP_EXPORT static bool IsOverflowStop();
    FASTCMP_EXPORT static void ReportOverflowKernel(const std::string& kernel);
    FASTCMP_EXPORT static void UpdateConfig();
    FASTCMP_EXPORT static bool ReportOperationGraphEnable();
    FASTCMP_EXPORT static void ReportOperationGraph(const std::string& operation, const std::string& graph);
};

}  // namespace atb

namespace atb_speed {

class SpeedProbe {
public:
    FASTCMP_EXPORT static bool IsReportModelTopoInfo(const std::string& model);
    FASTCMP_EXPORT static void ReportModelTopoInfo(const std::string& model, const std::string& graph);
};

}  // namespace atb_speed
