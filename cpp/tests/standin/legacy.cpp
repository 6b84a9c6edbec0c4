// libacltransformer of 2023: it decides by its own environment, makes whole paths and writes the files itself.

#include <unistd.h>

#include <sstream>
#include <thread>

#include "acltransformer.hpp"
#include "bin_file.hpp"
#include "model.hpp"
#include "tensors.hpp"

namespace AclTransformer {

void TensorUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath) { standin::write_bin_file(tensor, filePath); }
void StoreUtil::SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath) { standin::write_bin_file(tensor, filePath); }

}  // namespace AclTransformer

namespace standin {
namespace {

/// Read once, as the original's singleton.
class Config {
public:
    static const Config& get() {
        // Never destroyed: models may still run while the process exits.
        static const auto* const config = std::make_unique<Config>().release();
        return *config;
    }

    [[nodiscard]] bool enabled() const { return enabled_; }
    [[nodiscard]] std::uint64_t max() const { return max_; }
    [[nodiscard]] const std::string& tensors() const { return tensors_; }
    [[nodiscard]] const std::string& task_id() const { return task_id_; }

    [[nodiscard]] bool wants(const std::string& runner) const {
        if (runners_.empty()) {
            return true;
        }
        std::istringstream list{runners_};
        for (std::string prefix; std::getline(list, prefix, ',');) {
            if (!prefix.empty() && runner.starts_with(prefix)) {
                return true;
            }
        }
        return false;
    }

private:
    // An unset home crashed the original; here the path stays relative.
    static std::string tensors_below(const std::string& home) { return home.empty() ? "tensors" : home + "/tensors"; }

    bool enabled_ = environment("ACLTRANSFORMER_SAVE_TENSOR", "") == "1";
    std::uint64_t max_ = static_cast<std::uint64_t>(std::max(0LL, std::atoll(environment("ACLTRANSFORMER_SAVE_TENSOR_MAX", "1").c_str())));
    std::string runners_ = environment("ACLTRANSFORMER_SAVE_TENSOR_RUNNER", "");
    std::string tensors_ = tensors_below(environment("ACLTRANSFORMER_HOME_PATH", ""));
    std::string task_id_ = environment("AIT_CMP_TASK_ID", "");
};

class LegacyOperation : public Operation {
public:
    LegacyOperation(Place place, int flow)
        : place_{std::move(place)}, flow_{flow}, saving_{Config::get().enabled() && Config::get().wants(place_.name)} {}

    void execute(std::uint64_t execute_count, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs,
                 const std::function<void()>& kernel) override {
        kernel();
        if (!is_save_tensor(execute_count)) {
            return;
        }
        const auto directory = directory_of(execute_count) + "/after/";
        for (std::size_t index = 0; index < inputs.size(); ++index) {
            save(asdops_tensor(inputs[index]), directory + "inTensor" + std::to_string(index) + ".bin");
        }
        for (std::size_t index = 0; index < outputs.size(); ++index) {
            save(asdops_tensor(outputs[index]), directory + "outTensor" + std::to_string(index) + ".bin");
        }
    }

    void offer(std::uint64_t execute_count, const TensorValue& output, std::uint64_t times) override {
        const auto tensor = asdops_tensor(output);
        const auto path = directory_of(execute_count) + "/after/outTensor0.bin";
        for (std::uint64_t time = 0; time < times && is_save_tensor(execute_count); ++time) {
            save(tensor, path);
        }
    }

private:
    bool is_save_tensor(std::uint64_t execute_count) {
        saving_ = saving_ && execute_count < Config::get().max();  // once off, off for good
        return saving_;
    }

    [[nodiscard]] std::string directory_of(std::uint64_t execute_count) const {
        std::ostringstream directory;
        directory << Config::get().tensors() << "/";
        if (!Config::get().task_id().empty()) {
            directory << ::getpid() << "/" << Config::get().task_id();
        } else if (flow_ == STANDIN_LEGACY_PID) {
            directory << "thread_" << ::getpid();
        } else {
            directory << "thread_" << std::this_thread::get_id();
        }
        directory << "/" << execute_count << "/" << place_.path;
        return directory.str();
    }

    void save(const AsdOps::Tensor& tensor, const std::string& path) const {
        if (flow_ == STANDIN_LEGACY_STORE_UTIL) {
            AclTransformer::StoreUtil::SaveTensor(tensor, path);
        } else {
            AclTransformer::TensorUtil::SaveTensor(tensor, path);
        }
    }

    Place place_;
    int flow_;
    bool saving_;
};

}  // namespace

const char* library_name() { return "acltransformer"; }

int resolve_flow(int flow) {
    if (flow == STANDIN_DEFAULT) {
        return STANDIN_LEGACY;
    }
    return flow >= STANDIN_LEGACY && flow <= STANDIN_LEGACY_STORE_UTIL ? flow : -1;
}

std::unique_ptr<Operation> make_operation(const Place& place, int flow) { return std::make_unique<LegacyOperation>(place, flow); }

}  // namespace standin
