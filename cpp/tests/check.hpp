// Plain checks that count.
#pragma once

#include <cstdio>
#include <string>

namespace fastcmp::tests {

inline int passed = 0;
inline int failed = 0;

inline void check(bool holds, const std::string& claim) {
    ++(holds ? passed : failed);
    if (!holds) {
        std::printf("FAILED: %s\n", claim.c_str());
    }
}

// Says how many there were; the exit status, 1 if any failed.
inline int summed_up() {
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace fastcmp::tests
