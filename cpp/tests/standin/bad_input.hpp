#pragma once

#include <unistd.h>

#include <span>
#include <string>

namespace [[gnu::visibility("hidden")]] standin {

struct BadInput {
    const char* name;
    void (*offer)();
};

/// Each library has its own.
std::span<const BadInput> bad_inputs();

constexpr std::uint64_t kElevenGiB = std::uint64_t{11} << 30;
constexpr float kSix[] = {1, 2, 3, -4, 5, 6};

/// A place in the working directory where no preload library may write.
inline std::string outside(const std::string& name) {
    char directory[4096];
    return std::string{::getcwd(directory, sizeof directory) == nullptr ? "/nonexistent" : directory} + "/standin_outside/" + name;
}

}  // namespace standin
