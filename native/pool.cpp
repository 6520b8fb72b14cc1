#include "pool.h"

#include <stdexcept>
#include <string>
#include <system_error>

namespace vidsr {

Pool::Pool(int num_threads) : num_threads_(num_threads) {
    try {
        for (int index = 1; index < num_threads; ++index) threads_.emplace_back(&Pool::serve, this, index);
    } catch (const std::system_error& error) {
        stop();
        throw std::runtime_error(std::to_string(threads_.size() + 1) + " of " + std::to_string(num_threads) +
                                 " threads could be started (" + error.what() + ")");
    } catch (...) {
        stop();  // those that were started
        throw;
    }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stops_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Pool::run(const std::function<void(int)>& work) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work;
        num_busy_ = num_threads_ - 1;
        ++generation_;
    }
    wake_.notify_all();
    work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return num_busy_ == 0; });
}

void Pool::serve(int index) {
    unsigned seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stops_ || generation_ != seen; });
        if (stops_) return;
        seen = generation_;
        const std::function<void(int)>& work = *work_;
        lock.unlock();
        work(index);
        lock.lock();
        if (--num_busy_ == 0) done_.notify_one();
    }
}

}  // namespace vidsr
