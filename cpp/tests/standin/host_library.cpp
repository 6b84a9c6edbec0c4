#include "host_library.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

namespace {

[[noreturn]] void refuse(const std::string& reason) {
    std::fprintf(stderr, "standin_host: %s\n", reason.c_str());
    std::exit(2);
}

}  // namespace

#ifdef STANDIN_LINKED

Library find_library(const Options& options, char** program) {
    if (!options.dlopen_path.empty()) {
        refuse("--dlopen is for standin_host; this one is linked to its library");
    }
    const std::string flavour = standin_flavour();
    if (options.legacy && flavour.starts_with("atb")) {
        // The same arguments to the host beside this one that is linked to libacltransformer.
        std::array<char, PATH_MAX> self{};
        if (::readlink("/proc/self/exe", self.data(), self.size() - 1) != -1) {
            const std::string path = self.data();
            const auto other = path.substr(0, path.rfind('/')) + "/standin_host_legacy_" + flavour.substr(flavour.find(' ') + 1);
            ::execv(other.c_str(), program);
            refuse("cannot execute " + other);
        }
    }
    return {standin_flavour,    standin_model_create, standin_model_destroy, standin_model_add_op,
            standin_execute_op, standin_offer,        standin_run,           standin_bad_input};
}

#else

namespace {

int flags_of(const std::string& text) {
    const std::map<std::string, int> known{
        {"lazy", RTLD_LAZY}, {"now", RTLD_NOW}, {"local", RTLD_LOCAL}, {"global", RTLD_GLOBAL}, {"deepbind", RTLD_DEEPBIND}};
    int flags = 0;
    std::istringstream words{text};
    for (std::string word; std::getline(words, word, ',');) {
        const auto found = known.find(word);
        if (found == known.end()) {
            refuse("--dlopen takes lazy, now, local, global, deepbind, got " + word);
        }
        flags |= found->second;
    }
    return (flags & (RTLD_LAZY | RTLD_NOW)) == 0 ? flags | RTLD_LAZY : flags;
}

template <typename Function>
void resolve(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(::dlsym(handle, name));
    if (function == nullptr) {
        refuse(std::string{"the library has no "} + name);
    }
}

}  // namespace

Library find_library(const Options& options, char**) {
    if (options.dlopen_path.empty()) {
        refuse("this host is linked to no library: --dlopen FLAGS PATH");
    }
    auto* handle = ::dlopen(options.dlopen_path.c_str(), flags_of(options.dlopen_flags));
    if (handle == nullptr) {
        refuse(::dlerror());
    }
    Library library{};
    resolve(handle, "standin_flavour", library.flavour);
    resolve(handle, "standin_model_create", library.model_create);
    resolve(handle, "standin_model_destroy", library.model_destroy);
    resolve(handle, "standin_model_add_op", library.model_add_op);
    resolve(handle, "standin_execute_op", library.execute_op);
    resolve(handle, "standin_offer", library.offer);
    resolve(handle, "standin_run", library.run);
    resolve(handle, "standin_bad_input", library.bad_input);
    return library;
}

#endif
