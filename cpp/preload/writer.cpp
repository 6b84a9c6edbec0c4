#include "writer.hpp"

#include <csignal>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace fastcmp::preload {
namespace {

using Clock = std::chrono::steady_clock;

// What a small piece costs beside its bytes.
constexpr std::size_t kPieceOverhead = 256;
// The first ticks come soon, so that a program that is killed early has left word of what it saved.
constexpr auto kFirstTick = std::chrono::milliseconds{200};
constexpr auto kLastTick = std::chrono::milliseconds{5000};

// `seconds` from now; far away where that is not a time.
Clock::time_point after(double seconds) {
    constexpr double kYear = 365.0 * 86400;
    const double bounded = std::isfinite(seconds) ? std::clamp(seconds, 0.0, kYear) : kYear;
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(bounded));
}

bool fetch(const Source& source, char* to, std::uint64_t offset, std::size_t size) {
    if (size == 0) {
        return true;
    }
    if (source.fetch) {
        return source.fetch(to, source.data + offset, size);
    }
    std::memcpy(to, source.data + offset, size);
    return true;
}

}  // namespace

void Writer::save(std::unique_ptr<Job> owned, const Source& source) {
    const std::shared_ptr<Job> job{std::move(owned)};
    if (is_stuck()) {
        ended_(*job, Outcome::stalled);
        return;
    }
    if (!accept()) {
        write_here(*job, source);
        return;
    }
    std::uint64_t done = 0;
    do {
        Piece piece{job, nullptr, static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, job->size - done)), 0, End::no};
        piece.memory = reserve(piece.size, piece.capacity);
        const bool is_fetched = piece.memory != nullptr && fetch(source, piece.memory, done, piece.size);
        done += piece.size;
        if (!is_fetched) {
            const auto outcome = piece.memory == nullptr ? Outcome::stalled : Outcome::no_device_copy;
            const std::size_t capacity = piece.capacity;
            if (piece.memory != nullptr) {
                give_back(piece.memory, capacity);
            }
            push({job, nullptr, 0, 0, End::abandoned});
            ended_(*job, outcome);
            return;
        }
        piece.end = done == job->size ? End::last : End::no;
        push(std::move(piece));
    } while (done < job->size);
}

// True while a disk that once made no progress for too long still makes none.
bool Writer::is_stuck() {
    const std::lock_guard lock{mutex_};
    return stuck_at_ == progress_;
}

// True if the thread will write the job that now begins: it is awaited from here on. Starts the thread if need be.
bool Writer::accept() {
    const std::lock_guard lock{mutex_};
    if (!is_closing_ && (has_thread_ || start_thread())) {
        ++pending_jobs_;
        return true;
    }
    return false;
}

bool Writer::start_thread() {
    // The host's signals are its own threads' business.
    sigset_t all{};
    sigset_t before{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread_ = std::thread{[this] { run(); }};
        has_thread_ = true;
    } catch (const std::system_error&) {
        has_thread_ = false;  // no thread to be had: the caller writes
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return has_thread_;
}

// Memory for a piece; null where the disk has made no progress for too long, or where there is no memory.
char* Writer::reserve(std::size_t size, std::size_t& capacity) {
    const std::size_t wanted = size > kPieceBytes / 2 ? kPieceBytes : std::max<std::size_t>(size, 1);
    std::unique_lock lock{mutex_};
    auto seen = progress_;
    auto deadline = after(max_stall_s_);
    while (held_bytes_ != 0 && held_bytes_ + wanted + kPieceOverhead > kQueueBytes) {
        if (room_.wait_until(lock, deadline) == std::cv_status::timeout && seen == progress_) {
            stuck_at_ = progress_;
            return nullptr;
        }
        if (seen != progress_) {
            seen = progress_;
            deadline = after(max_stall_s_);
        }
    }
    held_bytes_ += wanted + kPieceOverhead;
    capacity = wanted;
    if (wanted == kPieceBytes && !spare_.empty()) {
        char* memory = spare_.back();
        spare_.pop_back();
        return memory;
    }
    lock.unlock();
    char* memory = static_cast<char*>(std::malloc(wanted));
    if (memory == nullptr) {
        lock.lock();
        held_bytes_ -= wanted + kPieceOverhead;
    }
    return memory;
}

void Writer::give_back(char* memory, std::size_t capacity) {
    std::unique_lock lock{mutex_};
    held_bytes_ -= capacity + kPieceOverhead;
    if (capacity == kPieceBytes) {
        spare_.push_back(memory);  // never more than the queue may hold
    } else {
        lock.unlock();
        std::free(memory);
    }
    room_.notify_all();
}

void Writer::push(Piece piece) {
    const std::lock_guard lock{mutex_};
    queue_.push_back(std::move(piece));
    work_.notify_one();
}

void Writer::run() {
    bool has_news = false;
    auto tick_every = kFirstTick;
    auto next_tick = Clock::now() + tick_every;
    std::unique_lock lock{mutex_};
    while (true) {
        const auto is_due = [this] { return !queue_.empty() || is_closing_; };
        if (!has_news) {
            work_.wait(lock, is_due);
        } else if (!work_.wait_until(lock, next_tick, is_due) || Clock::now() >= next_tick) {
            lock.unlock();
            tick_();
            lock.lock();
            has_news = false;
            tick_every = std::min(tick_every * 2, kLastTick);
            next_tick = Clock::now() + tick_every;
            continue;
        }
        if (queue_.empty()) {
            return;
        }
        Piece piece = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        write_piece(piece);
        if (piece.memory != nullptr) {
            give_back(piece.memory, piece.capacity);
        }
        const bool is_end = piece.end != End::no;
        piece.job.reset();
        lock.lock();
        has_news = true;
        ++progress_;
        pending_jobs_ -= is_end ? 1 : 0;
        room_.notify_all();
    }
}

void Writer::write_piece(const Piece& piece) {
    Job& job = *piece.job;
    if (piece.end == End::abandoned) {
        job.file.discard();
        return;
    }
    if (!job.failure) {
        const bool is_first = !job.is_created;
        if (is_first) {
            job.failure = job.file.create(job.root, job.relative, min_free_, job.size);
            job.is_created = true;
        }
        if (!job.failure) {
            job.failure = job.file.append(is_first ? std::string_view{job.header} : std::string_view{}, piece.memory, piece.size);
        }
    }
    if (piece.end == End::last) {
        end_job(job);
    }
}

// In the caller's thread: when none is to be had, and at the end of the process.
void Writer::write_here(Job& job, const Source& source) {
    job.failure = job.file.create(job.root, job.relative, min_free_, job.size);
    std::vector<char> buffer(source.fetch ? std::min<std::uint64_t>(kPieceBytes, job.size) : 0);
    std::string_view header = job.header;
    for (std::uint64_t done = 0; !job.failure && (done < job.size || !header.empty());) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, job.size - done));
        const char* data = source.data == nullptr ? nullptr : source.data + done;
        if (source.fetch && size != 0) {
            if (!source.fetch(buffer.data(), data, size)) {
                job.file.discard();
                ended_(job, Outcome::no_device_copy);
                return;
            }
            data = buffer.data();
        }
        job.failure = job.file.append(header, data, size);
        header = {};
        done += size;
    }
    end_job(job);
}

void Writer::end_job(Job& job) {
    if (!job.failure) {
        job.failure = job.file.publish();
    }
    job.file.discard();
    const bool is_low = job.failure.step == std::string_view{kLowDisk};
    ended_(job, !job.failure ? Outcome::saved : is_low ? Outcome::low_disk : Outcome::failed);
}

bool Writer::drain(double seconds) {
    std::unique_lock lock{mutex_};
    return room_.wait_until(lock, after(seconds), [this] { return pending_jobs_ == 0; });
}

void Writer::close() {
    std::unique_lock lock{mutex_};
    while (pending_jobs_ != 0) {
        const auto seen = progress_;
        if (!room_.wait_until(lock, after(max_stall_s_), [&] { return pending_jobs_ == 0 || seen != progress_; })) {
            is_closing_ = true;  // its thread hangs in the disk and ends with the process
            return;
        }
    }
    is_closing_ = true;
    work_.notify_all();
    if (has_thread_) {
        has_thread_ = false;
        lock.unlock();
        thread_.join();
    }
}

std::uint64_t Writer::queued() const {
    const std::lock_guard lock{mutex_};
    return pending_jobs_;
}

}  // namespace fastcmp::preload
