// libatb: the operations that ask atb::Probe, and those of November 2023 that call StoreUtil with whole paths.

#include <unistd.h>

#include <limits>

#include "atb.hpp"
#include "model.hpp"
#include "tensors.hpp"

namespace standin {
namespace {

constexpr int kDevice = 0;

/// The order of calls of a present-day Runner.
class ProbeOperation : public Operation {
public:
    ProbeOperation(Place place, int flow)
        : place_{std::move(place)},
          older_{flow == STANDIN_PROBE_OLDER},
          mki_{flow == STANDIN_PROBE_MKI},
          need_save_{atb::Probe::IsTensorNeedSave(place_.ids, place_.name)} {}

    void execute(std::uint64_t execute_count, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs,
                 const std::function<void()>& kernel) override {
        set_up(execute_count);
        if (is_save_tensor(execute_count) && atb::Probe::IsSaveTensorBefore()) {
            save("before", inputs, outputs);
        }
        kernel();
        if (is_save_tensor(execute_count) && atb::Probe::IsSaveTensorAfter()) {
            save("after", inputs, outputs);
        }
        report(execute_count, inputs, outputs);
    }

    void offer(std::uint64_t execute_count, const TensorValue& output, std::uint64_t times) override {
        set_up(execute_count);
        const auto path = directory_ + "/after/outtensor0.bin";
        for (std::uint64_t time = 0; time < times; ++time) {
            if (ask_at_set_up() && is_save_tensor(execute_count) && atb::Probe::IsSaveTensorAfter()) {
                save_one(output, path);
            }
        }
    }

private:
    [[nodiscard]] bool ask_at_set_up() const {
        if (!older_) {
            atb::Probe::UpdateConfig();
        }
        return atb::Probe::IsSaveTensorDesc();
    }

    // Without a directory nothing is saved, whatever else is answered.
    void set_up(std::uint64_t execute_count) {
        directory_ = ask_at_set_up()
                         ? numbered(kDevice, std::to_string(::getpid())) + "/" + std::to_string(execute_count) + "/" + place_.path
                         : std::string{};
    }

    [[nodiscard]] bool is_save_tensor(std::uint64_t execute_count) const {
        return !directory_.empty() && atb::Probe::IsExecuteCountInRange(execute_count) && need_save_ &&
               (older_ || atb::Probe::IsSaveTensorInSpecificDir(directory_));
    }

    // Inputs and outputs both times: which of them to keep is the probe's choice (ATB_SAVE_TENSOR_PART).
    void save(const char* when, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs) const {
        if (atb::Probe::IsSaveTensorData()) {
            // Here the original waits for its stream.
        }
        for (std::size_t index = 0; index < inputs.size(); ++index) {
            save_one(inputs[index], directory_ + "/" + when + "/intensor" + std::to_string(index) + ".bin");
        }
        for (std::size_t index = 0; index < outputs.size(); ++index) {
            save_one(outputs[index], directory_ + "/" + when + "/outtensor" + std::to_string(index) + ".bin");
        }
    }

    void save_one(const TensorValue& value, const std::string& path) const {
        if (mki_) {
            atb::StoreUtil::SaveTensor(mki_tensor(value), path);
        } else {
            atb::StoreUtil::SaveTensor(atb_tensor(value), path);
        }
    }

    /// The other things that a probe may want; each is asked for first.
    void report(std::uint64_t execute_count, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs) const {
        const auto count = static_cast<std::size_t>(execute_count);
        const std::string parameters = "{}";
        if (atb::Probe::IsSaveTiling() && !directory_.empty()) {
            const std::uint8_t tiling[] = {1, 2, 3, 4};
            atb::Probe::SaveTiling(tiling, sizeof tiling, directory_ + "/kernel_tilingdata.bin");
        }
        if (atb::Probe::IsSaveParam() && !directory_.empty()) {
            atb::Probe::SaveParam(parameters, directory_ + "/op_param.json");
        }
        if (atb::Probe::ReportOperationIOTensorEnable()) {
            atb::Probe::ReportOperationIOTensor(count, place_.name, parameters, described(inputs), described(outputs));
        }
        if (atb::Probe::ReportKernelIOTensorEnable()) {
            atb::Probe::ReportKernelIOTensor(count, place_.name, parameters, described(inputs), described(outputs));
        }
        if (atb::Probe::ReportOperationStatisticEnable()) {
            atb::Probe::ReportOperationSetupStatistic(count, place_.name, "setup");
            atb::Probe::ReportOperationExecuteStatistic(count, place_.name, "execute");
        }
        if (atb::Probe::IsOverflowCheck() && atb::Probe::IsOverflowStop()) {
            atb::Probe::ReportOverflowKernel(place_.path);
        }
    }

    static std::vector<atb::Probe::Tensor> described(std::span<const TensorValue> values) {
        std::vector<atb::Probe::Tensor> tensors(values.size());
        for (std::size_t index = 0; index < values.size(); ++index) {
            atb::Probe::AtbTensorToProbeTensor(atb_tensor(values[index]), tensors[index], "");
        }
        return tensors;
    }

    Place place_;
    bool older_;
    bool mki_;
    bool need_save_;  // asked once, before any token
    std::string directory_;
};

/// The environment of November 2023, read once by the library itself.
struct StoreConfig {
    bool enabled = environment("ATB_SAVE_TENSOR", "") == "1";
    std::string directory = environment("ASDOPS_LOG_TO_FILE_DIR", "atb_temp") + "/tensors/";
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // inclusive

    StoreConfig() {
        const auto start = environment("ATB_SAVE_TENSOR_START", "0");
        const auto range = environment("ATB_SAVE_TENSOR_RANGE", start + "," + environment("ATB_SAVE_TENSOR_END", "18446744073709551615"));
        first = std::strtoull(range.c_str(), nullptr, 10);
        const auto comma = range.find(',');
        last = comma == std::string::npos ? first : std::strtoull(range.c_str() + comma + 1, nullptr, 10);
    }
};

class StoreOperation : public Operation {
public:
    StoreOperation(Place place, bool asdops) : place_{std::move(place)}, asdops_{asdops} {}

    void execute(std::uint64_t execute_count, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs,
                 const std::function<void()>& kernel) override {
        const auto saves = is_save_tensor(execute_count);
        const auto directory = saves ? directory_of(execute_count) : std::string{};
        if (saves) {
            save(directory + "/before/intensor", inputs);
        }
        kernel();
        if (saves) {
            save(directory + "/after/outtensor", outputs);
        }
    }

    void offer(std::uint64_t execute_count, const TensorValue& output, std::uint64_t times) override {
        const auto path = directory_of(execute_count) + "/after/outtensor0.bin";
        for (std::uint64_t time = 0; time < times && is_save_tensor(execute_count); ++time) {
            save_one(output, path);
        }
    }

private:
    static const StoreConfig& config() {
        // Never destroyed: models may still run while the process exits.
        static const auto* const read_once = std::make_unique<StoreConfig>().release();
        return *read_once;
    }

    static bool is_save_tensor(std::uint64_t execute_count) {
        return config().enabled && execute_count >= config().first && execute_count <= config().last;
    }

    [[nodiscard]] std::string directory_of(std::uint64_t execute_count) const {
        return config().directory + std::to_string(::getpid()) + "_" + std::to_string(::gettid()) + "/" + std::to_string(execute_count) +
               "/" + place_.path;
    }

    void save(const std::string& stem, std::span<const TensorValue> values) const {
        for (std::size_t index = 0; index < values.size(); ++index) {
            save_one(values[index], stem + std::to_string(index) + ".bin");
        }
    }

    void save_one(const TensorValue& value, const std::string& path) const {
        if (asdops_) {
            atb::StoreUtil::SaveTensor(asdops_tensor(value), path);
        } else {
            atb::StoreUtil::SaveTensor(atb_tensor(value), path);
        }
    }

    Place place_;
    bool asdops_;
};

}  // namespace

const char* library_name() { return "atb"; }

int resolve_flow(int flow) {
    if (flow == STANDIN_DEFAULT) {
        return STANDIN_PROBE;
    }
    return (flow >= STANDIN_PROBE && flow <= STANDIN_STORE_ATB) || flow == STANDIN_PROBE_MKI ? flow : -1;
}

std::unique_ptr<Operation> make_operation(const Place& place, int flow) {
    // A model asks this, too, when it is set up.
    if (place.ids.size() == 1 && atb_speed::SpeedProbe::IsReportModelTopoInfo(place.name)) {
        atb_speed::SpeedProbe::ReportModelTopoInfo(place.name, "{}");
    }
    if (flow == STANDIN_STORE_ASDOPS || flow == STANDIN_STORE_ATB) {
        return std::make_unique<StoreOperation>(place, flow == STANDIN_STORE_ASDOPS);
    }
    return std::make_unique<ProbeOperation>(place, flow);
}

}  // namespace standin
