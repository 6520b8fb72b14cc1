// Threads that live as long as the engine and wait between pieces of work.
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

    // Calls work(0) to work(num_threads - 1) at the same time, the first here; returns when all have.
    void run(const std::function<void(int)>& work);

private:
    void serve(int index);
    void stop();

    const int num_threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int)>* work_ = nullptr;
    unsigned generation_ = 0;
    int num_busy_ = 0;
    bool stops_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace vidsr
