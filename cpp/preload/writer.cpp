#include "writer.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "bounded.hpp"

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
    try {
        copy(job, source);
    } catch (...) {
        forget_job();
        throw;
    }
}

void Writer::copy(const std::shared_ptr<Job>& job, const Source& source) {
    std::uint64_t done = 0;
    do {
        Piece piece{job, nullptr, static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, job->size - done)), 0, End::no};
        auto outcome = reserve(piece);
        if (outcome == Outcome::saved && !fetch(source, piece.memory, done, piece.size)) {
            give_back(piece.memory, piece.capacity);
            outcome = Outcome::no_device_copy;
        }
        if (outcome != Outcome::saved) {
            push({job, nullptr, 0, 0, End::abandoned});
            ended_(*job, outcome);
            return;
        }
        done += piece.size;
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
    if (!is_closing_ && !has_thread_) {
        thread_ = start_thread([this] { run(); });
        has_thread_ = thread_.joinable();
    }
    pending_jobs_ += !is_closing_ && has_thread_ ? 1 : 0;
    return !is_closing_ && has_thread_;
}

// No more pieces of this job will come.
void Writer::forget_job() {
    const std::lock_guard lock{mutex_};
    --pending_jobs_;
    work_.notify_all();
    room_.notify_all();
}

// Finds memory for a piece, or says why there is none.
Outcome Writer::reserve(Piece& piece) {
    const std::size_t wanted = piece.size > kPieceBytes / 2 ? kPieceBytes : std::max<std::size_t>(piece.size, 1);
    std::unique_lock lock{mutex_};
    auto seen = progress_;
    auto deadline = after(max_stall_s_);
    while (held_bytes_ != 0 && held_bytes_ + wanted + kPieceOverhead > kQueueBytes) {
        if (room_.wait_until(lock, deadline) == std::cv_status::timeout && seen == progress_) {
            stuck_at_ = progress_;
            return Outcome::stalled;
        }
        if (seen != progress_) {
            seen = progress_;
            deadline = after(max_stall_s_);
        }
    }
    held_bytes_ += wanted + kPieceOverhead;
    piece.capacity = wanted;
    if (wanted == kPieceBytes && spare_count_ != 0) {
        piece.memory = spare_[--spare_count_];
        return Outcome::saved;
    }
    lock.unlock();
    piece.memory = static_cast<char*>(std::malloc(wanted));
    if (piece.memory == nullptr) {
        lock.lock();
        held_bytes_ -= wanted + kPieceOverhead;
        return Outcome::no_memory;
    }
    return Outcome::saved;
}

void Writer::give_back(char* memory, std::size_t capacity) {
    std::unique_lock lock{mutex_};
    held_bytes_ -= capacity + kPieceOverhead;
    if (capacity == kPieceBytes && spare_count_ < spare_.size()) {
        spare_[spare_count_++] = memory;
    } else {
        lock.unlock();
        std::free(memory);
    }
    room_.notify_all();
}

void Writer::push(Piece piece) {
    const std::lock_guard lock{mutex_};
    const bool is_abandoned = piece.end == End::abandoned;
    queue_.push_back(std::move(piece));
    abandoned_jobs_ += is_abandoned ? 1 : 0;
    work_.notify_one();
}

void Writer::run() {
    bool has_news = false;
    auto tick_every = kFirstTick;
    auto next_tick = Clock::now() + tick_every;
    std::unique_lock lock{mutex_};
    while (true) {
        const auto is_due = [this] { return !queue_.empty() || (is_closing_ && pending_jobs_ == 0); };
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
        const bool is_abandoned = piece.end == End::abandoned;
        piece.job.reset();
        lock.lock();
        has_news = true;
        ++progress_;
        pending_jobs_ -= is_end ? 1 : 0;
        abandoned_jobs_ -= is_abandoned ? 1 : 0;
        room_.notify_all();
    }
}

void Writer::write_piece(const Piece& piece) noexcept {
    Job& job = *piece.job;
    if (piece.end == End::abandoned) {
        job.file.discard();
        return;
    }
    if (!job.failure) {
        try {
            job.failure = write_data(job, piece);
        } catch (...) {
            job.failure = {ENOMEM, "writing it"};
        }
    }
    if (piece.end == End::last) {
        end_job(job);
    }
}

Failure Writer::write_data(Job& job, const Piece& piece) {
    const bool is_first = !job.is_created;
    if (is_first) {
        job.is_created = true;
        if (const auto failure = job.file.create(job.root, job.relative, min_free_, job.size)) {
            return failure;
        }
    }
    return job.file.append(is_first ? std::string_view{job.header} : std::string_view{}, piece.memory, piece.size);
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
    is_closing_ = true;  // other threads may go on saving: what they offer now is theirs to write, or this would never end
    work_.notify_all();
    while (pending_jobs_ != 0) {
        const auto seen = progress_;
        if (!room_.wait_until(lock, after(max_stall_s_), [&] { return pending_jobs_ == 0 || seen != progress_; })) {
            stuck_at_ = progress_;  // its thread hangs in the disk and ends with the process
            return;
        }
    }
    if (has_thread_) {
        has_thread_ = false;
        lock.unlock();
        thread_.join();
    }
}

std::uint64_t Writer::queued() const {
    const std::lock_guard lock{mutex_};
    return pending_jobs_ - abandoned_jobs_;
}

}  // namespace fastcmp::preload
