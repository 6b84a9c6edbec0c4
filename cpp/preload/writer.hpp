// Writes tensors in the background: a bounded queue of pieces, and a few threads.
//
// Making a file costs more than its bytes where tensors are small, and one thread cannot keep up with several that save: another one
// starts when a tensor finds those that there are busy. The pieces of one tensor are written in order, by one thread at a time; which
// of two tensors is there first is not said.
//
// The caller's memory is copied piece by piece before `save` returns, so at most kQueueBytes are held however large a tensor is. A
// caller waits for room while the disk makes progress, and gives a tensor up where it makes none for the time that was set.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tensor_file.hpp"

namespace fastcmp::preload {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
constexpr std::size_t kQueueBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxThreads = 4;

// One file to be written.
struct Job {
    std::string root;
    std::string relative;
    int own_names = 0;        // so many names of `relative` are the user's or ours, not the library's
    std::string header;
    std::uint64_t size = 0;   // of the data behind the header
    std::string registered;   // the line of the list that asked for it, "" none
    std::uint64_t key = 0;    // of root and relative

    TensorFile file;
    bool is_created = false;
    bool is_taken = false;  // a thread is writing a piece of it
    Failure failure;
};

enum class Outcome { saved, low_disk, failed, stalled, no_device_copy, no_memory };

// Where the data is, and how it is fetched; false where the device refuses.
struct Source {
    const char* data = nullptr;
    std::function<bool(char* to, const char* from, std::size_t size)> fetch;  // empty: memcpy
};

class Writer {
public:
    // Told of each job's end, in the thread that ended it and without a lock held; must not throw.
    using Ended = std::function<void(const Job&, Outcome)>;
    using Tick = std::function<void()>;

    // With one thread, tensors are written in the order of their `save`.
    Writer(double max_stall_s, std::uint64_t min_free, std::size_t max_threads, Ended ended, Tick tick);

    void save(std::unique_ptr<Job> job, const Source& source);
    // True once everything accepted has ended.
    bool drain(double seconds);
    // For the end of the process: waits while there is progress, ends the threads; what comes later is written by its caller.
    void close();

    std::uint64_t queued() const;
    std::mutex& mutex() { return mutex_; }

private:
    enum class End { no, last, abandoned };
    struct Piece {
        std::shared_ptr<Job> job;
        char* memory = nullptr;
        std::size_t size = 0;
        std::size_t capacity = 0;
        End end = End::no;
    };

    bool accept();
    bool start_another();
    void copy(const std::shared_ptr<Job>& job, const Source& source);
    void forget_job();
    void run();
    std::deque<Piece>::iterator next_piece();
    void take_and_write(std::unique_lock<std::mutex>& lock, std::deque<Piece>::iterator next);
    void tick(std::unique_lock<std::mutex>& lock);
    bool is_stuck();
    Outcome reserve(Piece& piece);
    void give_back(std::unique_lock<std::mutex>& lock, char* memory, std::size_t capacity);
    void push(Piece piece);
    void write_piece(const Piece& piece) noexcept;
    Failure write_data(Job& job, const Piece& piece);
    void write_here(Job& job, const Source& source);
    void end_job(Job& job);

    using Clock = std::chrono::steady_clock;

    const double max_stall_s_;
    const std::uint64_t min_free_;
    const std::size_t max_threads_;
    const Ended ended_;
    const Tick tick_;

    mutable std::mutex mutex_;
    std::condition_variable work_;     // for the threads
    std::condition_variable room_;     // for those who save
    std::condition_variable drained_;  // for those who wait until nothing is pending
    std::deque<Piece> queue_;
    std::array<char*, kQueueBytes / kPieceBytes> spare_{};  // pieces of kPieceBytes whose pages are warm
    std::size_t spare_count_ = 0;
    std::size_t held_bytes_ = 0;
    std::uint64_t pending_jobs_ = 0;
    std::uint64_t abandoned_jobs_ = 0;  // of those: ended, and their temporary file not yet removed
    std::uint64_t progress_ = 0;
    std::uint64_t stuck_at_ = UINT64_MAX;
    bool is_closing_ = false;
    std::vector<std::thread> threads_;
    std::size_t idle_threads_ = 0;
    bool has_news_ = false;  // since the last tick
    Clock::duration tick_every_;
    Clock::time_point next_tick_;
};

}  // namespace fastcmp::preload
