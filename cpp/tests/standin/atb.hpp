#pragma once

// The entry points of libatb that a preload library overrides. Names and signatures are those of the original, hence the other style.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "asdops_tensor.hpp"

// The variant with hidden visibility defines it as nothing.
#ifndef ATB_PUBLIC
#define ATB_PUBLIC __attribute__((visibility("default")))
#endif

namespace Mki {

/// Laid out on purpose unlike AsdOps::Tensor: nobody may read it by offset.
struct Tensor {
    std::vector<std::int64_t> dims;
    std::int32_t dtype = 0;
    std::int32_t format = 0;
    void* data = nullptr;
    std::size_t dataSize = 0;
};

}  // namespace Mki

namespace atb {

constexpr std::size_t kMaxDims = 8;

struct Tensor {
    std::int32_t dtype = 0;
    std::int32_t format = 0;
    std::int64_t dims[kMaxDims] = {};
    std::uint64_t dimNum = 0;
    void* deviceData = nullptr;
    void* hostData = nullptr;
    std::uint64_t dataSize = 0;
};

static_assert(sizeof(Tensor) == 104);
static_assert(offsetof(Tensor, format) == 4 && offsetof(Tensor, dims) == 8 && offsetof(Tensor, dimNum) == 72);
static_assert(offsetof(Tensor, deviceData) == 80 && offsetof(Tensor, hostData) == 88 && offsetof(Tensor, dataSize) == 96);

class ATB_PUBLIC Probe {
public:
    struct Tensor {
        std::string dtype;
        std::string format;
        std::string shape;
        std::string filePath;
    };

    static bool IsTensorNeedSave(const std::vector<std::int64_t>& ids, const std::string& opType);
    static bool IsSaveTensorData();
    static bool IsSaveTensorDesc();
    static bool IsExecuteCountInRange(const std::uint64_t executeCount);
    static bool IsSaveTensorBefore();
    static bool IsSaveTensorAfter();
    static void SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims, const void* hostData,
                           std::uint64_t dataSize, const std::string& filePath);
    static bool IsSaveTiling();
    static void SaveTiling(const std::uint8_t* data, std::uint64_t dataSize, const std::string& filePath);
    static bool IsSaveParam();
    static void SaveParam(const std::string& param, const std::string& filePath);

    static bool ReportOperationIOTensorEnable();
    static void ReportOperationIOTensor(const std::size_t executeCount, const std::string& opName, const std::string& opParam,
                                        const std::vector<Probe::Tensor>& inTensors, const std::vector<Probe::Tensor>& outTensors);
    static bool ReportOperationStatisticEnable();
    static void ReportOperationSetupStatistic(const std::size_t executeCount, const std::string& opName, const std::string& st);
    static void ReportOperationExecuteStatistic(const std::size_t executeCount, const std::string& opName, const std::string& st);
    static bool ReportKernelIOTensorEnable();
    static void ReportKernelIOTensor(const std::size_t executeCount, const std::string& opName, const std::string& opParam,
                                     const std::vector<Probe::Tensor>& inTensors, const std::vector<Probe::Tensor>& outTensors);
    static bool ReportOperationGraphEnable();
    static void ReportOperationGraph(const std::string& opName, const std::string& graph);

    static bool IsOverflowCheck();
    static bool IsOverflowStop();
    static void ReportOverflowKernel(const std::string& kernelPath);

    static void UpdateConfig();
    static bool IsSaveTensorInSpecificDir(const std::string& tensorDir);

    // Helpers of the library itself: not to be overridden.
    static void AsdopsTensorToProbeTensor(const Mki::Tensor& tensor, Probe::Tensor& probeTensor, const std::string& filePath);
    static void AtbTensorToProbeTensor(const atb::Tensor& tensor, Probe::Tensor& probeTensor, const std::string& filePath);
};

class ATB_PUBLIC StoreUtil {
public:
    [[gnu::weak]] static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath);
    [[gnu::weak]] static void SaveTensor(const atb::Tensor& tensor, const std::string& filePath);
    [[gnu::weak]] static void SaveTensor(const Mki::Tensor& tensor, const std::string& filePath);
    static void SaveTensor(const std::string& format, const std::string& dtype, const std::string& dims, const void* deviceData,
                           std::uint64_t dataSize, const std::string& filePath);
};

}  // namespace atb

namespace atb_speed {

class ATB_PUBLIC SpeedProbe {
public:
    static bool IsReportModelTopoInfo(const std::string& modelName);
    static void ReportModelTopoInfo(const std::string& modelName, const std::string& graph);
};

}  // namespace atb_speed
