#include "pool.h"

#include <stdexcept>
#include <string>
#include <system_error>

namespace vidsr {

Pool::Pool(int num_threads) : num_threads_(num_threads) {
    try {
        for (int thread = 1; thread < num_threads; ++thread) threads_.emplace_back(&Pool::serve, this, thread);
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

void Pool::run(int num_pieces, const std::function<void(int, int)>& work) {
    std::unique_lock<std::mutex> lock(mutex_);
    work_ = &work;
    next_ = 0;
    num_pieces_ = num_left_ = num_pieces;
    if (num_pieces > 1) wake_.notify_all();
    take_pieces(lock, 0);
    done_.wait(lock, [this] { return num_left_ == 0; });
}

void Pool::serve(int thread) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stops_ || next_ < num_pieces_; });
        if (stops_) return;
        take_pieces(lock, thread);
    }
}

void Pool::take_pieces(std::unique_lock<std::mutex>& lock, int thread) {
    while (next_ < num_pieces_) {
        const int piece = next_++;
        const std::function<void(int, int)>& work = *work_;  // which stays until its last piece is done
        lock.unlock();
        work(piece, thread);
        lock.lock();
        if (--num_left_ == 0) done_.notify_one();
    }
}

}  // namespace vidsr
