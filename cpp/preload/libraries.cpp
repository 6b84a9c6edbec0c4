#include "libraries.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <unordered_set>

#include "descriptor.hpp"

namespace fastcmp::preload {
namespace {

constexpr std::array<std::string_view, 4> kPrefixes{"_ZN3atb5Probe", "_ZN3atb9StoreUtil10SaveTensor", "_ZN14AclTransformer",
                                                    "_ZN9atb_speed10SpeedProbe"};
constexpr std::array<std::string_view, 2> kNames{"libatb", "libacltransformer"};

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// A program may have named a library relative to where it was then; as it is where that is gone.
std::string absolute_path(const std::string& path) {
    char* const whole = ::realpath(path.c_str(), nullptr);
    const std::string result = whole == nullptr ? path : whole;
    std::free(whole);
    return result;
}

const pid_t loading_process = ::getpid();
std::atomic<bool> is_fork_noted{false};

// Since the library was loaded. The process number tells also where no handler is called (clone); a grandchild may have it again.
bool is_forked() { return is_fork_noted || ::getpid() != loading_process; }

// The dynamic section of one loaded object, as pointers into its memory.
struct Dynamic {
    const ElfW(Sym)* symbols = nullptr;
    const char* strings = nullptr;
    std::size_t string_bytes = 0;
    const ElfW(Rela)* plt = nullptr;
    std::size_t plt_count = 0;
    const ElfW(Rela)* rela = nullptr;
    std::size_t rela_count = 0;
    const std::uint32_t* gnu_hash = nullptr;
    const std::uint32_t* hash = nullptr;

    bool is_whole() const { return symbols != nullptr && strings != nullptr && string_bytes != 0; }
};

Dynamic read_dynamic(const dl_phdr_info& info) {
    Dynamic found;
    for (int i = 0; i < info.dlpi_phnum; ++i) {
        if (info.dlpi_phdr[i].p_type != PT_DYNAMIC) {
            continue;
        }
        for (const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(info.dlpi_addr + info.dlpi_phdr[i].p_vaddr); entry->d_tag != DT_NULL; ++entry) {
            const auto value = entry->d_un.d_val;
            // The loader has made addresses of most; those it has left alone lie below the object.
            const auto* address = reinterpret_cast<const void*>(value < info.dlpi_addr ? value + info.dlpi_addr : value);
            switch (entry->d_tag) {
                case DT_SYMTAB: found.symbols = static_cast<const ElfW(Sym)*>(address); break;
                case DT_STRTAB: found.strings = static_cast<const char*>(address); break;
                case DT_STRSZ: found.string_bytes = value; break;
                case DT_JMPREL: found.plt = static_cast<const ElfW(Rela)*>(address); break;
                case DT_PLTRELSZ: found.plt_count = value / sizeof(ElfW(Rela)); break;
                case DT_RELA: found.rela = static_cast<const ElfW(Rela)*>(address); break;
                case DT_RELASZ: found.rela_count = value / sizeof(ElfW(Rela)); break;
                case DT_GNU_HASH: found.gnu_hash = static_cast<const std::uint32_t*>(address); break;
                case DT_HASH: found.hash = static_cast<const std::uint32_t*>(address); break;
                default: break;
            }
        }
    }
    return found;
}

bool mentions_us(const Dynamic& dynamic) {
    return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](std::string_view prefix) {
        return ::memmem(dynamic.strings, dynamic.string_bytes, prefix.data(), prefix.size()) != nullptr;
    });
}

std::string_view name_of(const Dynamic& dynamic, const ElfW(Sym)& symbol) {
    if (symbol.st_name >= dynamic.string_bytes) {
        return {};
    }
    const char* name = dynamic.strings + symbol.st_name;
    return {name, ::strnlen(name, dynamic.string_bytes - symbol.st_name)};
}

// Symbols are counted nowhere; a hash table knows the highest.
std::size_t symbol_count(const Dynamic& dynamic) {
    if (dynamic.hash != nullptr) {
        return dynamic.hash[1];
    }
    if (dynamic.gnu_hash == nullptr) {
        return 0;
    }
    const auto bucket_count = dynamic.gnu_hash[0];
    const auto first = dynamic.gnu_hash[1];
    const auto* buckets = dynamic.gnu_hash + 4 + dynamic.gnu_hash[2] * (sizeof(ElfW(Addr)) / 4);
    const auto* chains = buckets + bucket_count;
    std::uint32_t last = bucket_count == 0 ? 0 : *std::max_element(buckets, buckets + bucket_count);
    if (last < first) {
        return first;
    }
    while ((chains[last - first] & 1) == 0) {
        ++last;
    }
    return last + 1;
}

bool lies_in(const dl_phdr_info& info, std::uintptr_t address) {
    for (int i = 0; i < info.dlpi_phnum; ++i) {
        const auto& segment = info.dlpi_phdr[i];
        if (segment.p_type == PT_LOAD && address >= info.dlpi_addr + segment.p_vaddr &&
            address < info.dlpi_addr + segment.p_vaddr + segment.p_memsz) {
            return true;
        }
    }
    return false;
}

bool has_known_name(std::string_view path, const std::vector<std::string>& more) {
    const auto name = base_name(path);
    return std::any_of(kNames.begin(), kNames.end(), [&](std::string_view known) { return name.starts_with(known); }) ||
           std::any_of(more.begin(), more.end(), [&](std::string_view known) { return name == known; });
}

struct Search {
    const std::vector<std::string>& more;
    bool names_only;
    dl_phdr_info self{};
    bool has_self = false;
    std::unordered_set<std::string_view> replaced;  // the names that this library exports
    std::vector<LoadedLibrary> found;
};

void count_relocations(const Search& search, const dl_phdr_info& info, const Dynamic& dynamic, const ElfW(Rela)* relocations,
                       std::size_t count, LoadedLibrary& library) {
    for (std::size_t i = 0; relocations != nullptr && i < count; ++i) {
        const auto index = ELF64_R_SYM(relocations[i].r_info);
        const auto kind = ELF64_R_TYPE(relocations[i].r_info);
#if defined(__aarch64__)
        const bool is_reference = kind == R_AARCH64_JUMP_SLOT || kind == R_AARCH64_GLOB_DAT || kind == R_AARCH64_ABS64;
#else
        const bool is_reference = kind == R_X86_64_JUMP_SLOT || kind == R_X86_64_GLOB_DAT || kind == R_X86_64_64;
#endif
        if (index == 0 || !is_reference) {
            continue;
        }
        const auto& symbol = dynamic.symbols[index];
        if (!search.replaced.contains(name_of(dynamic, symbol))) {
            continue;
        }
        const auto target = *reinterpret_cast<const std::uintptr_t*>(info.dlpi_addr + relocations[i].r_offset);
        const bool is_own_body = symbol.st_shndx != SHN_UNDEF && target == info.dlpi_addr + symbol.st_value;
        if (lies_in(search.self, target)) {
            ++library.bound_here;
        } else if (is_own_body) {
            ++library.bound_to_itself;
        } else {
            ++library.unbound;
        }
    }
}

void note_replaced(Search& search, const Dynamic& dynamic) {
    for (std::size_t i = 0, count = dynamic.is_whole() ? symbol_count(dynamic) : 0; i < count; ++i) {
        const auto name = name_of(dynamic, dynamic.symbols[i]);
        const auto begins_so = [&](std::string_view prefix) { return name.starts_with(prefix); };
        if (dynamic.symbols[i].st_shndx != SHN_UNDEF && std::any_of(kPrefixes.begin(), kPrefixes.end(), begins_so)) {
            search.replaced.insert(name);
        }
    }
}

// An exception must not cross the C library.
int visit_self(dl_phdr_info* info, std::size_t, void* data) {
    auto& search = *static_cast<Search*>(data);
    try {
        if (lies_in(*info, reinterpret_cast<std::uintptr_t>(&visit_self))) {
            search.self = *info;
            search.has_self = true;
            note_replaced(search, read_dynamic(*info));
            return 1;
        }
        return 0;
    } catch (...) {
        return 1;
    }
}

int visit(dl_phdr_info* info, std::size_t, void* data) {
    auto& search = *static_cast<Search*>(data);
    try {
        const std::string_view path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
        const bool is_kernel = path.starts_with("linux-vdso") || path.starts_with("linux-gate");
        const bool is_known = has_known_name(path, search.more);
        const bool is_program = path.empty();  // it may carry the functions itself
        if (is_kernel || info->dlpi_addr == search.self.dlpi_addr || (search.names_only && !is_known && !is_program)) {
            return 0;
        }
        const auto dynamic = read_dynamic(*info);
        if (!dynamic.is_whole() || (!is_known && !mentions_us(dynamic))) {
            return 0;
        }
        LoadedLibrary library;
        library.path = path.empty() ? "/proc/self/exe" : std::string{path};
        for (std::size_t i = 0, count = symbol_count(dynamic); i < count; ++i) {
            const auto& symbol = dynamic.symbols[i];
            library.defines += symbol.st_shndx != SHN_UNDEF && search.replaced.contains(name_of(dynamic, symbol)) ? 1U : 0U;
        }
        count_relocations(search, *info, dynamic, dynamic.plt, dynamic.plt_count, library);
        count_relocations(search, *info, dynamic, dynamic.rela, dynamic.rela_count, library);
        search.found.push_back(std::move(library));
        return 0;
    } catch (...) {
        return 1;
    }
}

int collect_path(dl_phdr_info* info, std::size_t, void* data) {
    try {
        if (info->dlpi_name != nullptr && *info->dlpi_name == '/') {
            static_cast<std::vector<std::string>*>(data)->emplace_back(info->dlpi_name);
        }
        return 0;
    } catch (...) {
        return 1;
    }
}

// The files that are mapped, without repetitions of neighbours.
std::vector<std::string> mapped_files() {
    constexpr std::size_t kReadBytes = 64 * 1024;
    const Descriptor maps{::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    std::string text;
    for (ssize_t count = 1; maps.is_open() && count > 0;) {
        const auto size = text.size();
        text.resize(size + kReadBytes);
        count = ::read(maps.number(), text.data() + size, kReadBytes);
        text.resize(size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    }
    std::vector<std::string> files;
    for (std::string_view rest = text; !rest.empty();) {
        const auto line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        const auto slash = line.find('/');
        if (slash != std::string_view::npos && (files.empty() || files.back() != line.substr(slash))) {
            files.emplace_back(line.substr(slash));
        }
    }
    return files;
}

// As the kernel sees it.
bool is_library_mapped(const std::vector<std::string>& more) {
    const auto files = mapped_files();
    return std::any_of(files.begin(), files.end(), [&](const std::string& path) { return has_known_name(path, more); });
}

}  // namespace

std::mutex& loaded_libraries_lock() {
    static std::mutex lock;
    return lock;
}

std::vector<LoadedLibrary> loaded_libraries(const std::vector<std::string>& more, bool names_only) {
    Search search{more, names_only, {}, false, {}, {}};
    {
        const std::lock_guard lock{loaded_libraries_lock()};
        ::dl_iterate_phdr(visit_self, &search);
        if (search.has_self) {
            ::dl_iterate_phdr(visit, &search);
        }
    }
    for (auto& library : search.found) {
        library.path = absolute_path(library.path);  // not while the loader waits: a stalled disk would hold up the whole host
    }
    return std::move(search.found);
}

bool has_library(const std::vector<std::string>& more) {
    return is_forked() ? is_library_mapped(more) : !loaded_libraries(more, true).empty();
}

void note_fork() noexcept { is_fork_noted = true; }

void* find_function(const char* name) {
    if (void* found = ::dlsym(RTLD_DEFAULT, name); found != nullptr) {
        return found;
    }
    std::vector<std::string> paths;
    if (is_forked()) {
        paths = mapped_files();  // see note_fork
    } else {
        const std::lock_guard lock{loaded_libraries_lock()};
        ::dl_iterate_phdr(collect_path, &paths);  // by the names that the loader knows them by, so that it opens none of them anew
    }
    for (const auto& path : paths) {
        void* handle = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
        if (handle == nullptr) {
            continue;
        }
        void* found = ::dlsym(handle, name);
        ::dlclose(handle);  // somebody else holds it
        if (found != nullptr) {
            return found;
        }
    }
    return nullptr;
}

}  // namespace fastcmp::preload
