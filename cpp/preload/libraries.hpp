// Which loaded objects define or import the functions that are replaced here, and whose bodies their calls reach.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace fastcmp::preload {

struct LoadedLibrary {
    std::string path;
    std::uint64_t defines = 0;
    std::uint64_t bound_here = 0;
    std::uint64_t bound_to_itself = 0;  // -Bsymbolic, or loaded with RTLD_DEEPBIND
    std::uint64_t unbound = 0;          // not called yet: bound at the first call
};

// Objects that have something to do with us. With `names_only` just those whose file name begins with libatb, libacltransformer or one
// of `more` are looked at, which is quick in a process of a thousand libraries.
std::vector<LoadedLibrary> loaded_libraries(const std::vector<std::string>& more, bool names_only);

// True if an object of such a name is loaded. Asks for the loader's lock only where it is sure to be free again, see note_fork.
bool has_library(const std::vector<std::string>& more);

// In the child of a fork the loader's lock may be held, for ever, by a thread that is not there: from now on nothing here waits for it, but
// for loaded_libraries.
void note_fork() noexcept;

// Held while the loader's list is walked. A fork waits for it: in the child the loader's own lock would stay locked.
std::mutex& loaded_libraries_lock();

// A function of any loaded object, also of one that was loaded with RTLD_LOCAL; null where there is none.
void* find_function(const char* name);

}  // namespace fastcmp::preload
