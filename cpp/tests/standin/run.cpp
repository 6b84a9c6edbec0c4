// A whole model on every thread, with tensors that anybody can compute again.

#include <bit>
#include <cstring>
#include <thread>

#include "model.hpp"

namespace standin {
namespace {

/// FNV-1a, a word at a time.
constexpr std::uint64_t mix(std::uint64_t checksum, std::uint64_t word) { return (checksum ^ word) * 0x100000001b3ULL; }

/// The bytes of one tensor: float32 where they can be, else uint8.
class Buffer {
public:
    explicit Buffer(std::uint64_t nbytes)
        : bytes_(nbytes % 4 == 0 ? 0 : static_cast<std::size_t>(nbytes)),
          floats_(nbytes % 4 == 0 ? static_cast<std::size_t>(nbytes / 4) : 0) {}

    void begin(std::uint32_t seed) {
        std::uint32_t index = 0;
        for (auto& value : floats_) {
            value = static_cast<float>((seed + index++) & 255U);
        }
        for (auto& value : bytes_) {
            value = static_cast<std::uint8_t>(seed + index++);
        }
    }

    /// out[i] = in[i] / 2 + ((seed + i) & 255)
    void compute(const Buffer& input, std::uint32_t seed) {
        for (std::size_t index = 0; index < floats_.size(); ++index) {
            floats_[index] = 0.5F * input.floats_[index] + static_cast<float>((seed + static_cast<std::uint32_t>(index)) & 255U);
        }
        for (std::size_t index = 0; index < bytes_.size(); ++index) {
            bytes_[index] = static_cast<std::uint8_t>(input.bytes_[index] / 2U + seed + static_cast<std::uint32_t>(index));
        }
    }

    [[nodiscard]] std::uint64_t add_to(std::uint64_t checksum) const {
        for (const auto value : floats_) {
            checksum = mix(checksum, std::bit_cast<std::uint32_t>(value));
        }
        for (const auto value : bytes_) {
            checksum = mix(checksum, value);
        }
        return checksum;
    }

    [[nodiscard]] TensorValue value() const {
        if (!bytes_.empty()) {
            return {bytes_.data(), bytes_.size(), 2, 4, {static_cast<std::int64_t>(bytes_.size())}};
        }
        return {floats_.data(), floats_.size() * sizeof(float), 2, 0, {1, static_cast<std::int64_t>(floats_.size())}};
    }

private:
    std::vector<std::uint8_t> bytes_;
    std::vector<float> floats_;
};

std::uint32_t seed_of(int thread, int token, int layer, int node) {
    return static_cast<std::uint32_t>(((thread * 7 + token) * 5 + layer) * 3 + node);
}

struct Options {
    int first_token;
    int tokens;
    int layers;
    std::uint64_t nbytes;
    int flow;
    standin_token_hook hook;
    void* context;
};

class ThreadRun {
public:
    ThreadRun(int thread, const Options& options)
        : thread_{thread},
          options_{options},
          model_{thread, kModelName, kLayerName, options.flow},
          hidden_{options.nbytes},
          buffers_(std::size(kRunners), Buffer{options.nbytes}) {}

    std::uint64_t run() {
        // All runners before the first token, as the library does: what they are told then is what they know until the end.
        for (int layer = 0; layer < options_.layers; ++layer) {
            for (int node = 0; node < static_cast<int>(std::size(kRunners)); ++node) {
                model_.add(layer, kRunners[node], node, 1);
            }
            model_.add(layer, "", -1, 1);
        }
        std::uint64_t checksum = 0xcbf29ce484222325ULL;
        for (int token = options_.first_token; token < options_.first_token + options_.tokens; ++token) {
            if (options_.hook != nullptr) {
                options_.hook(options_.context, thread_, token);
            }
            hidden_.begin(seed_of(thread_, token, 0, 0));
            for (int layer = 0; layer < options_.layers; ++layer) {
                run_layer(token, layer);
            }
            checksum = hidden_.add_to(checksum);
        }
        return checksum;
    }

private:
    void run_layer(int token, int layer) {
        const auto count = static_cast<std::uint64_t>(token);
        const TensorValue layer_input[] = {hidden_.value()};
        const TensorValue layer_output[] = {buffers_.back().value()};
        model_.find(layer, "", -1).operation->execute(count, layer_input, layer_output, [&] {
            const Buffer* input = &hidden_;
            for (int node = 0; node < static_cast<int>(buffers_.size()); ++node) {
                auto& output = buffers_[static_cast<std::size_t>(node)];
                const TensorValue inputs[] = {input->value()};
                const TensorValue outputs[] = {output.value()};
                model_.find(layer, kRunners[node], node).operation->execute(count, inputs, outputs, [&] {
                    output.compute(*input, seed_of(thread_, token, layer, node));
                });
                input = &output;
            }
        });
        hidden_ = buffers_.back();
    }

    int thread_;
    const Options& options_;
    Model model_;
    Buffer hidden_;                // what the layers pass on
    std::vector<Buffer> buffers_;  // one output per runner of a layer
};

}  // namespace
}  // namespace standin

uint64_t standin_run(int threads, int first_token, int tokens, int layers, uint64_t bytes_per_tensor, int flow, standin_token_hook hook,
                     void* context) {
    const auto resolved = standin::resolve_flow(flow);
    if (threads < 1 || resolved == -1) {
        return 0;
    }
    const standin::Options options{first_token, tokens, layers, bytes_per_tensor, resolved, hook, context};
    std::vector<std::uint64_t> checksums(static_cast<std::size_t>(threads));
    const auto run = [&](int thread) { checksums[static_cast<std::size_t>(thread)] = standin::ThreadRun{thread, options}.run(); };
    if (threads == 1) {
        run(0);  // in the caller's thread: thread_{id} of the legacy layout is then the caller's
    } else {
        std::vector<std::thread> running;
        for (int thread = 0; thread < threads; ++thread) {
            running.emplace_back(run, thread);
        }
        for (auto& thread : running) {
            thread.join();
        }
    }
    std::uint64_t checksum = 0;
    for (const auto value : checksums) {
        checksum = standin::mix(checksum, value);
    }
    return checksum;
}
