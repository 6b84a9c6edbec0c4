// What a fork leaves whole: the locks of this library, in the parent and in the child.
#pragma once

namespace fastcmp::preload {

// From now on; to be called once.
void handle_forks() noexcept;

}  // namespace fastcmp::preload
