// The tensors that were registered beforehand: lists of `{token}/{tensor_path}` that grow while the program runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "list_file.hpp"
#include "pattern_index.hpp"
#include "shared_lock.hpp"

namespace fastcmp::preload {

constexpr std::size_t kMaxLines = 1'000'000;

// Finds a string_view in a container of strings without making a string.
struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

// Where a registered tensor is to be written: `{run_directory}/{tail}`, spelled as it was registered.
struct Place {
    std::string run_directory;  // "": where the library would have written it
    std::string tail;
};

// Any thread may ask; who asks for something that is not registered has the lists read again first if they have grown.
class Registry {
public:
    // Told of each list and line that is refused: where, and why.
    using Refuse = std::function<void(std::string_view where, std::string_view why)>;

    explicit Registry(Refuse refuse) : refuse_{std::move(refuse)} {}

    // Follows one more list. 0 or an errno; a list that is not there yet is followed all the same where `may_be_missing`.
    int follow(const std::string& path, const std::string& run_directory, bool may_be_missing);

    bool has_lists() const { return list_count_.load(std::memory_order_acquire) != 0; }
    // As has_lists, but a list that may appear later counts only once it has.
    bool has_readable_list();

    // Nothing for what is not registered. inTensor and intensor, outTensor and outtensor are one name.
    std::optional<Place> find(std::string_view tail);
    bool has_token(std::uint64_t token);
    // A registered tensor lies somewhere below this directory.
    bool has_directory(std::string_view tail);
    // A registered path has a component `before` (`after`), or neither of the two.
    bool has_before();
    bool has_after();

    void mark_saved(std::string_view tail);
    // Reads what the lists have grown by, also where nobody asks, and looks for those that are not there.
    void refresh();
    std::uint64_t line_count() const;
    std::uint64_t saved_count() const;

    // In a forked child: what its parent has registered goes to directories of its own.
    void forked(long parent_pid, long own_pid);
    // For pthread_atfork.
    SharedLock& mutex() { return mutex_; }

private:
    struct List {
        ListFile file;
        std::string run_directory;
    };
    struct Entry {
        std::size_t list;
        bool is_capital = false;  // registered as inTensor or outTensor
        bool is_saved = false;
    };

    int add_list(const std::string& path, const std::string& run_directory, bool may_be_missing);
    void refused(std::string_view where, std::string_view why);
    void tell_refusals();
    bool has_any_news() const;
    void read_all_news(bool is_thorough = false);
    void count_readable();
    void read_news(std::size_t number);
    void add_line(std::string_view line, std::size_t number);
    void add_entry(std::string_view line, std::size_t number);
    void add_directories(std::string_view line);
    template <typename Ask>
    auto ask(Ask question) -> decltype(question());
    const Entry* look_up(std::string_view tail) const;

    static constexpr std::size_t kMaxRefusals = 100;

    Refuse refuse_;
    std::vector<std::pair<std::string, std::string>> refusals_;  // not told yet: where, and why
    std::size_t refused_count_ = 0;
    mutable SharedLock mutex_;
    std::atomic<std::size_t> list_count_{0};
    std::vector<List> lists_;
    // Paths and patterns with intensor and outtensor in small letters.
    std::unordered_map<std::string, Entry, TextHash, std::equal_to<>> paths_;
    std::unordered_set<std::string, TextHash, std::equal_to<>> directories_;
    PatternIndex<Entry> patterns_;
    PatternIndex<bool> pattern_directories_;
    std::set<std::uint64_t> tokens_;
    std::atomic<std::uint64_t> saved_count_{0};
    // These are read without the lock.
    static constexpr std::uint64_t kNoToken = UINT64_MAX;
    std::atomic<std::size_t> readable_count_{0};
    std::atomic<std::uint64_t> last_token_{kNoToken};  // that was asked for and is registered
    std::atomic<bool> any_token_{false};
    std::atomic<bool> any_before_{false};
    std::atomic<bool> any_after_{false};
};

}  // namespace fastcmp::preload
