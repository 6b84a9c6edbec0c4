// Sizes of many files in one crossing: planning asks for those of a hundred thousand, and os.stat costs as much again as the system call.

#include <nanobind/nanobind.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

/// Empty for a text that cannot be a path.
std::string path_or_nothing(nb::handle path) {
    const auto encoded = nb::steal(PyUnicode_EncodeFSDefault(path.ptr()));
    if (!encoded.is_valid()) {
        PyErr_Clear();
        return {};
    }
    std::string bytes{PyBytes_AS_STRING(encoded.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(encoded.ptr()))};
    return bytes.find('\0') == std::string::npos ? bytes : std::string{};
}

std::int64_t size_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : 0;
}

nb::list file_sizes(const nb::list& paths) {
    std::vector<std::string> names;
    names.reserve(paths.size());
    for (const auto path : paths) {
        names.push_back(path_or_nothing(path));
    }
    std::vector<std::int64_t> sizes;
    sizes.reserve(names.size());
    {
        const nb::gil_scoped_release released;  // a slow disk must not stop the other threads
        for (const auto& name : names) {
            sizes.push_back(size_of(name));
        }
    }
    nb::list out;
    for (const auto size : sizes) {
        out.append(size);
    }
    return out;
}

}  // namespace

void add_file_sizes(nb::module_& module) { module.def("file_sizes", &file_sizes, "paths"_a); }
