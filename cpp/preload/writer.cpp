#include "writer.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "bounded.hpp"

namespace fastcmp::preload {
namespace {

// What a small piece costs beside its bytes.
constexpr std::size_t kPieceOverhead = 256;
// The first ticks come soon, so that a program that is killed early has left word of what it saved.
constexpr auto kFirstTick = std::chrono::milliseconds{200};
constexpr auto kLastTick = std::chrono::milliseconds{5000};

// `seconds` from now; far away where that is not a time.
std::chrono::steady_clock::time_point after(double seconds) {
    using Clock = std::chrono::steady_clock;
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

Writer::Writer(double max_stall_s, std::uint64_t min_free, std::size_t max_threads, Ended ended, Tick tick)
    : max_stall_s_{max_stall_s},
      min_free_{min_free},
      max_threads_{std::max<std::size_t>(max_threads, 1)},
      ended_{std::move(ended)},
      tick_{std::move(tick)},
      tick_every_{kFirstTick},
      next_tick_{Clock::now() + kFirstTick} {
    threads_.reserve(max_threads_);
}

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
            std::unique_lock lock{mutex_};
            give_back(lock, piece.memory, piece.capacity);
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

// True if a thread will write the job that now begins: it is awaited from here on. Starts the first one if need be.
bool Writer::accept() {
    const std::lock_guard lock{mutex_};
    if (is_closing_ || (threads_.empty() && !start_another())) {
        return false;
    }
    ++pending_jobs_;
    return true;
}

bool Writer::start_another() {
    auto thread = start_thread([this] { run(); });
    if (thread.joinable()) {
        threads_.push_back(std::move(thread));
        return true;
    }
    return false;
}

// No more pieces of this job will come.
void Writer::forget_job() {
    const std::lock_guard lock{mutex_};
    --pending_jobs_;
    work_.notify_all();
    drained_.notify_all();
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

void Writer::give_back(std::unique_lock<std::mutex>& lock, char* memory, std::size_t capacity) {
    held_bytes_ -= capacity + kPieceOverhead;
    if (capacity == kPieceBytes && spare_count_ < spare_.size()) {
        spare_[spare_count_++] = memory;
    } else {
        lock.unlock();
        std::free(memory);
        lock.lock();
    }
    room_.notify_all();
}

void Writer::push(Piece piece) {
    const std::lock_guard lock{mutex_};
    const bool is_taken = piece.job->is_taken;
    abandoned_jobs_ += piece.end == End::abandoned ? 1 : 0;
    queue_.push_back(std::move(piece));
    if (is_taken) {
        return;  // whoever writes its job comes back for it
    }
    if (idle_threads_ == 0 && threads_.size() < max_threads_ && !is_closing_) {
        start_another();
    }
    work_.notify_one();
}

// The first piece of a job that no other thread is writing.
std::deque<Writer::Piece>::iterator Writer::next_piece() {
    return std::find_if(queue_.begin(), queue_.end(), [](const Piece& piece) { return !piece.job->is_taken; });
}

void Writer::run() {
    std::unique_lock lock{mutex_};
    while (true) {
        const auto next = next_piece();
        if (has_news_ && Clock::now() >= next_tick_) {
            tick(lock);
        } else if (next != queue_.end()) {
            take_and_write(lock, next);
        } else if (is_closing_ && pending_jobs_ == 0) {
            return;
        } else {
            ++idle_threads_;
            if (has_news_) {
                work_.wait_until(lock, next_tick_);
            } else {
                work_.wait(lock);
            }
            --idle_threads_;
        }
    }
}

void Writer::tick(std::unique_lock<std::mutex>& lock) {
    has_news_ = false;
    tick_every_ = std::min<Clock::duration>(tick_every_ * 2, kLastTick);
    next_tick_ = Clock::time_point::max();  // of the other threads, none
    lock.unlock();
    tick_();
    lock.lock();
    next_tick_ = Clock::now() + tick_every_;
}

void Writer::take_and_write(std::unique_lock<std::mutex>& lock, std::deque<Piece>::iterator next) {
    Piece piece = std::move(*next);
    const auto end = piece.end;
    queue_.erase(next);
    piece.job->is_taken = true;
    if (idle_threads_ != 0 && next_piece() != queue_.end()) {
        work_.notify_one();
    }
    lock.unlock();
    write_piece(piece);
    if (end != End::no) {
        piece.job.reset();  // freed without the lock
    }
    lock.lock();
    if (piece.job != nullptr) {
        piece.job->is_taken = false;
    }
    if (piece.memory != nullptr) {
        give_back(lock, piece.memory, piece.capacity);
    }
    has_news_ = true;
    ++progress_;
    if (end == End::no) {
        return;
    }
    abandoned_jobs_ -= end == End::abandoned ? 1 : 0;
    if (--pending_jobs_ == 0) {
        drained_.notify_all();
        work_.notify_all();  // the others may be waiting for the end of the process
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
        if (const auto failure = job.file.create(job.root, job.relative, job.own_names, min_free_, job.size)) {
            return failure;
        }
    }
    return job.file.append(is_first ? std::string_view{job.header} : std::string_view{}, piece.memory, piece.size);
}

// In the caller's thread: when none is to be had, and at the end of the process.
void Writer::write_here(Job& job, const Source& source) {
    job.failure = job.file.create(job.root, job.relative, job.own_names, min_free_, job.size);
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
    return drained_.wait_until(lock, after(seconds), [this] { return pending_jobs_ == 0; });
}

void Writer::close() {
    std::unique_lock lock{mutex_};
    is_closing_ = true;  // other threads may go on saving: what they offer now is theirs to write, or this would never end
    work_.notify_all();
    while (pending_jobs_ != 0) {
        const auto seen = progress_;
        if (!drained_.wait_until(lock, after(max_stall_s_), [this] { return pending_jobs_ == 0; }) && seen == progress_) {
            stuck_at_ = progress_;  // a thread hangs in the disk and ends with the process
            return;
        }
    }
    auto threads = std::exchange(threads_, {});
    lock.unlock();
    work_.notify_all();
    for (auto& thread : threads) {
        thread.join();
    }
    for (; spare_count_ != 0; --spare_count_) {
        std::free(spare_[spare_count_ - 1]);
    }
}

std::uint64_t Writer::queued() const {
    const std::lock_guard lock{mutex_};
    return pending_jobs_ - abandoned_jobs_;
}

}  // namespace fastcmp::preload
