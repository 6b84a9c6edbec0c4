// The doorway between Python and the reader: converts, releases the GIL, and nothing else.
// Paths come as str and go through the file system encoding, so that any bytes survive (surrogateescape).

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <utility>

#include "fastcmp/scan.hpp"

namespace nb = nanobind;
using namespace nb::literals;

void add_file_sizes(nb::module_& module);

namespace {

using fastcmp::BinTensor;
using fastcmp::File;
using fastcmp::FileIdentity;
using fastcmp::ReadError;

std::string path_bytes(nb::handle path) {
    const auto encoded = nb::steal(PyUnicode_EncodeFSDefault(path.ptr()));
    if (!encoded.is_valid()) {
        throw nb::python_error();
    }
    return {PyBytes_AS_STRING(encoded.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(encoded.ptr()))};
}

std::vector<std::string> all_path_bytes(const nb::list& paths) {
    std::vector<std::string> out;
    out.reserve(paths.size());
    for (const auto path : paths) {
        out.push_back(path_bytes(path));
    }
    return out;
}

template <typename Items>
nb::tuple to_tuple(const Items& items) {
    auto out = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(items.size())));
    Py_ssize_t i = 0;
    for (const auto& item : items) {
        PyTuple_SET_ITEM(out.ptr(), i++, nb::cast(item).release().ptr());
    }
    return out;
}

nb::tuple to_python(const FileIdentity& identity) {
    return nb::make_tuple(identity.device, identity.inode, identity.size, identity.mtime_ns);
}

nb::object to_python(const ReadError& error) {
    if (const auto& known = error.description()) {
        return nb::make_tuple(error.code(), error.offset(), error.reason(), known->dtype_code, to_tuple(known->dims), known->statistics,
                              to_python(known->identity));
    }
    return nb::make_tuple(error.code(), error.offset(), error.reason());
}

nb::object to_python(const BinTensor& tensor) {
    return nb::make_tuple(tensor.dtype_code, tensor.format, to_tuple(tensor.dims), tensor.data_offset, tensor.nbytes, tensor.packed,
                          to_tuple(tensor.warnings), to_python(tensor.identity), tensor.kept_at);
}

nb::object to_python(const fastcmp::Head& head) {
    return nb::make_tuple(nb::bytes(head.bytes.data(), head.bytes.size()), to_python(head.identity), head.kept_at);
}

/// Memory of the caller's for small files; none means that no file is kept.
using Memory = std::optional<nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>>;

fastcmp::Room to_room(const Memory& memory, std::size_t used, std::size_t largest) {
    if (!memory) {
        return {{}, 0, 0};
    }
    if (used > memory->size()) {
        throw nb::value_error("used: expected at most the size of the memory");
    }
    return {{reinterpret_cast<std::byte*>(memory->data()), memory->size()}, used, largest};
}

/// Runs `work` over a batch without the GIL: a slow disk must not stop the other threads. `work` touches nothing of Python.
template <typename Work>
nb::list over_batch(const nb::list& paths, const nb::list& roots, Work work) {
    const auto names = all_path_bytes(paths);
    const auto allowed = all_path_bytes(roots);
    const auto results = [&] {
        const nb::gil_scoped_release unlocked;
        return work(names, allowed);
    }();
    nb::list out;
    for (const auto& result : results) {
        out.append(std::visit([](const auto& value) { return to_python(value); }, result));
    }
    return out;
}

nb::list scan_bin(const nb::list& paths, const std::string& multi_record, const nb::list& roots, const Memory& memory, std::size_t used,
                  std::size_t largest) {
    const auto policy = fastcmp::parse_multi_record(multi_record);
    if (!policy) {
        throw nb::value_error("multi_record: expected error, first or last");
    }
    auto room = to_room(memory, used, largest);
    return over_batch(paths, roots, [&](const auto& names, const auto& allowed) { return fastcmp::scan_files(names, *policy, allowed, &room); });
}

nb::list read_heads(const nb::list& paths, std::size_t limit, const nb::list& roots, const Memory& memory, std::size_t used,
                    std::size_t largest) {
    auto room = to_room(memory, used, largest);
    return over_batch(paths, roots, [&](const auto& names, const auto& allowed) { return fastcmp::read_heads(names, limit, allowed, &room); });
}

/// Runs `work` without the GIL; its ReadError becomes an ordinary (code, offset, reason).
template <typename Work, typename Convert>
nb::object guarded(Work work, Convert convert) {
    try {
        auto value = [&] {
            const nb::gil_scoped_release unlocked;
            return work();
        }();
        return convert(std::move(value));
    } catch (const ReadError& error) {
        return to_python(error);
    }
}

nb::object open_regular(const nb::str& path, const nb::list& roots) {
    const auto name = path_bytes(path);
    const auto allowed = all_path_bytes(roots);
    return guarded([&] { return File::open(name, allowed); },
                   [](File file) -> nb::object {
                       auto identity = to_python(file.identity());
                       return nb::make_tuple(file.release(), std::move(identity));
                   });
}

FileIdentity to_identity(const nb::tuple& identity) {
    return {nb::cast<std::uint64_t>(identity[0]), nb::cast<std::uint64_t>(identity[1]), nb::cast<std::uint64_t>(identity[2]),
            nb::cast<std::int64_t>(identity[3])};
}

nb::object check_unchanged(int descriptor, const nb::tuple& identity) {
    const auto expected = to_identity(identity);
    return guarded([&] { return fastcmp::expect_unchanged(descriptor, expected), true; }, [](bool) { return nb::none(); });
}

nb::object read_range(const nb::str& path, const nb::tuple& identity, std::uint64_t offset, std::size_t count) {
    const auto name = path_bytes(path);
    const auto expected = to_identity(identity);
    auto bytes = nb::steal<nb::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(count)));
    if (!bytes.is_valid()) {
        throw nb::python_error();
    }
    const std::span into{reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr())), count};  // ours alone until we return it
    return guarded([&] { return fastcmp::read_range(name, expected, offset, into), true; }, [&](bool) -> nb::object { return bytes; });
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "Headers of .bin tensor files, and the opening of files that nobody vouches for.";
    module.def("scan_bin", &scan_bin, "paths"_a, "multi_record"_a, "roots"_a, "memory"_a.none(), "used"_a, "largest"_a);
    module.def("open_regular", &open_regular, "path"_a, "roots"_a);
    module.def("read_heads", &read_heads, "paths"_a, "limit"_a, "roots"_a, "memory"_a.none(), "used"_a, "largest"_a);
    module.def("read_range", &read_range, "path"_a, "identity"_a, "offset"_a, "count"_a);
    module.def("check_unchanged", &check_unchanged, "descriptor"_a, "identity"_a);
    add_file_sizes(module);
    module.def("dtype_codes", [] {
        nb::list out;
        for (const auto& dtype : fastcmp::dtype_codes()) {
            out.append(nb::make_tuple(dtype.code, dtype.bits, nb::str(dtype.name.data(), dtype.name.size())));
        }
        return out;
    });
}
