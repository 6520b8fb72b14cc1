// Threads that live as long as the engine and wait between works. Who is free takes the next piece of a work, and none
// is waited for that has not begun one: a processor that is busy with something else holds up no more than its piece.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vidsr {

class Pool {
public:
    explicit Pool(int num_threads);  // with the calling one
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int num_threads() const { return num_threads_; }

    // Calls work(piece, thread) for every piece from 0 to num_pieces - 1, in the calling thread, which is number 0, and
    // the others; returns when all are done.
    void run(int num_pieces, const std::function<void(int, int)>& work);

private:
    void serve(int thread);
    void take_pieces(std::unique_lock<std::mutex>& lock, int thread);
    void stop();

    const int num_threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int, int)>* work_ = nullptr;
    int next_ = 0, num_pieces_ = 0, num_left_ = 0;  // the next to be taken, of how many, and not done yet
    bool stops_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace vidsr
