#include "registry.hpp"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <shared_mutex>

#include "paths.hpp"
#include "text.hpp"

namespace fastcmp::preload {
namespace {

std::string_view parent_of(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

// A path with intensor or outtensor in small letters; it is copied only if it is not so already.
class Key {
public:
    explicit Key(std::string_view path) : given_{path} {
        if (const auto letter = spelled_letter(path); letter != std::string_view::npos && path[letter] == 'T') {
            copy_ = path;
            copy_[letter] = 't';
        }
    }
    std::string_view text() const { return copy_.empty() ? given_ : std::string_view{copy_}; }

private:
    std::string_view given_;
    std::string copy_;
};

std::string_view token_of(std::string_view line) { return line.substr(0, line.find('/')); }

}  // namespace

int Registry::follow(const std::string& path, const std::string& run_directory, bool may_be_missing) {
    const int error = add_list(path, run_directory, may_be_missing);
    tell_refusals();
    return error;
}

int Registry::add_list(const std::string& path, const std::string& run_directory, bool may_be_missing) {
    const std::unique_lock lock{mutex_};
    const auto known = std::find_if(lists_.begin(), lists_.end(), [&](const List& list) { return list.file.path() == path; });
    const auto refuse = [&](std::string_view why) { refused(path, why); };
    if (known != lists_.end()) {
        known->run_directory = run_directory;
        const int error = known->file.is_open() ? 0 : known->file.open(refuse);
        count_readable();
        return error == ENOENT && may_be_missing ? 0 : error;  // read at the next question
    }
    List list{ListFile{path}, run_directory};
    const int error = list.file.open(refuse);
    if (error != 0 && !(error == ENOENT && may_be_missing)) {
        return error;
    }
    lists_.push_back(std::move(list));
    read_news(lists_.size() - 1);
    count_readable();
    list_count_.store(lists_.size(), std::memory_order_release);
    return 0;
}

bool Registry::has_any_news() const {
    return std::any_of(lists_.begin(), lists_.end(), [](const List& list) { return list.file.has_news(); });
}

void Registry::count_readable() {
    const auto is_readable = [](const List& list) { return list.file.is_open(); };
    readable_count_.store(static_cast<std::size_t>(std::count_if(lists_.begin(), lists_.end(), is_readable)), std::memory_order_release);
}

bool Registry::has_readable_list() {
    const auto is_one_readable = [this] { return readable_count_.load(std::memory_order_acquire) != 0; };
    return is_one_readable() || (has_lists() && ask(is_one_readable));
}

void Registry::refresh() { read_all_news(true); }

void Registry::read_all_news(bool is_thorough) {
    {
        const std::unique_lock lock{mutex_};
        for (std::size_t number = 0; number < lists_.size(); ++number) {
            if (is_thorough || lists_[number].file.has_news()) {
                read_news(number);
            }
        }
        count_readable();
    }
    tell_refusals();
}

void Registry::read_news(std::size_t number) {
    auto& file = lists_[number].file;
    file.read_news([&](std::string_view why) { refused(file.path(), why); }, [&](std::string_view line) { add_line(line, number); });
}

void Registry::refused(std::string_view where, std::string_view why) {
    ++refused_count_;
    if (refusals_.size() < kMaxRefusals) {
        refusals_.emplace_back(where, why);
    }
}

// Without the lock: whoever is told takes locks of its own, and a fork waits for all of them.
void Registry::tell_refusals() {
    std::vector<std::pair<std::string, std::string>> refusals;
    std::size_t untold = 0;
    {
        const std::unique_lock lock{mutex_};
        refusals.swap(refusals_);
        untold = refused_count_ - refusals.size();
        refused_count_ = 0;
    }
    for (const auto& [where, why] : refusals) {
        refuse_(where, why);
    }
    for (; untold != 0; --untold) {
        refuse_(refusals.back().first, refusals.back().second);
    }
}

void Registry::add_line(std::string_view line, std::size_t number) {
    if (line.empty()) {
        return;
    }
    if (const auto objection = preload::objection_to(line); !objection.empty()) {
        refused(lists_[number].file.path(), "found " + std::string{objection} + " in line '" + printable(line, 80) + "'; it registers nothing");
        return;
    }
    if (paths_.size() + patterns_.size() >= kMaxLines) {
        refused(lists_[number].file.path(), "found more than 1000000 lines; those that follow register nothing");
        return;
    }
    add_entry(line, number);
    const auto token = token_of(line);
    if (const auto value = parse_integer<std::uint64_t>(token)) {
        tokens_.insert(*value);
    } else {
        any_token_ = true;
    }
    const bool is_before = has_component(line, "before");
    const bool is_after = has_component(line, "after");
    if (is_before || !is_after) {
        any_before_ = true;
    }
    if (is_after || !is_before) {
        any_after_ = true;
    }
}

// A path that an earlier list has as well belongs to the later one: a forked child has its parent's list, and then its own.
void Registry::add_entry(std::string_view line, std::size_t number) {
    const auto letter = spelled_letter(line);
    const Entry entry{number, letter != std::string_view::npos && line[letter] == 'T'};
    const Key key{line};
    if (key.text().find('*') == std::string_view::npos) {
        const auto [place, is_new] = paths_.try_emplace(std::string{key.text()}, entry);
        if (is_new) {
            add_directories(line);
        } else if (place->second.list < number) {
            place->second = entry;
        }
        return;
    }
    const auto [known, is_new] = patterns_.emplace(key.text(), entry);
    if (is_new) {
        for (auto parent = parent_of(line); !parent.empty() && pattern_directories_.emplace(parent, true).second;) {
            parent = parent_of(parent);
        }
    } else if (known->list < number) {
        *known = entry;
    }
}

void Registry::add_directories(std::string_view line) {
    for (auto parent = parent_of(line); !parent.empty() && directories_.emplace(parent).second;) {
        parent = parent_of(parent);
    }
}

const Registry::Entry* Registry::look_up(std::string_view tail) const {
    const Key key{tail};
    if (const auto found = paths_.find(key.text()); found != paths_.end()) {
        return &found->second;
    }
    return patterns_.find(key.text());
}

// The answer to a question; asked again after the lists were read anew if it is no and they have grown.
template <typename Ask>
auto Registry::ask(Ask question) -> decltype(question()) {
    {
        const std::shared_lock lock{mutex_};
        if (auto answer = question()) {
            return answer;
        }
        if (!has_any_news()) {
            return {};
        }
    }
    read_all_news();
    const std::shared_lock lock{mutex_};
    return question();
}

std::optional<Place> Registry::find(std::string_view tail) {
    return ask([&]() -> std::optional<Place> {
        const auto* entry = look_up(tail);
        if (entry == nullptr) {
            return std::nullopt;
        }
        Place place{lists_[entry->list].run_directory, std::string{tail}};
        if (const auto letter = spelled_letter(tail); letter != std::string_view::npos) {
            place.tail[letter] = entry->is_capital ? 'T' : 't';
        }
        return place;
    });
}

bool Registry::has_token(std::uint64_t token) {
    // What was registered once stays so, and a token is asked for many times in a row: both without the lock, which threads would fight for.
    if (any_token_ || (token != kNoToken && token == last_token_.load(std::memory_order_relaxed))) {
        return true;
    }
    const bool answer = ask([&] { return any_token_ || tokens_.contains(token); });
    if (answer) {
        last_token_.store(token, std::memory_order_relaxed);
    }
    return answer;
}

bool Registry::has_directory(std::string_view tail) {
    return ask([&] { return directories_.contains(tail) || pattern_directories_.find(tail) != nullptr; });
}

bool Registry::has_before() {
    return any_before_ || ask([&] { return any_before_.load(); });
}

bool Registry::has_after() {
    return any_after_ || ask([&] { return any_after_.load(); });
}

void Registry::mark_saved(std::string_view tail) {
    const std::shared_lock lock{mutex_};  // nobody else's bool: it must not stop those who ask
    auto* entry = const_cast<Entry*>(look_up(tail));
    if (entry != nullptr && !std::atomic_ref{entry->is_saved}.exchange(true)) {
        ++saved_count_;
    }
}

void Registry::forked(long parent_pid, long own_pid) {
    for (auto& list : lists_) {
        if (const auto slash = list.run_directory.rfind('/'); slash != std::string::npos) {
            list.run_directory = list.run_directory.substr(0, slash + 1) +
                                 own_run_directory(std::string_view{list.run_directory}.substr(slash + 1), parent_pid, own_pid);
        }
    }
    for (auto& [path, entry] : paths_) {
        entry.is_saved = false;
    }
    patterns_.for_each([](Entry& entry) { entry.is_saved = false; });
    saved_count_ = 0;
}

std::uint64_t Registry::line_count() const {
    const std::shared_lock lock{mutex_};
    return paths_.size() + patterns_.size();
}

std::uint64_t Registry::saved_count() const { return saved_count_; }

}  // namespace fastcmp::preload
