// A network as a list of convolutions between pictures, planned once for each size and then run.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace vidsr {

// These three are what Python fills in, field by field the same in vidsr/engines/winograd_plan.py.
struct PictureSpec {
    int num_channels;  // a multiple of the lanes
    int doublings;     // its sides are those of the input, doubled so many times
    int is_local;      // no band reads what another left in it: only the rows in use are kept
};

struct LayerSpec {
    int source, more, in_channels;  // all channels of the source, then as many of `more` as are missing
    int target, target_channel, out_channels;  // the last a multiple of the lanes
    int doubles;
    int band;  // layers with the same number run together, some rows of tiles at a time
    int num_residuals;
    int residuals[kMaxResiduals];
    float residual_weights[kMaxResiduals];
    const float* weights;  // [out][in][3][3]
    const float* bias;     // [out]
    const float* slopes;   // [out], or null
};

struct NetworkSpec {
    const PictureSpec* pictures;  // the first is the input, the last one the output
    const LayerSpec* layers;
    int num_pictures, num_layers;
    int in_channels, out_channels;
    int shuffle;     // side of the square of pixels that the channels of an output pixel become
    int adds_input;  // each pixel of the input to all pixels that it becomes
    int band_tiles;  // height of a band, in tiles; 0 is the whole picture
};

class Network {
public:
    Network(const NetworkSpec& spec, const Kernels& kernels);
    ~Network();

    // input (num, in_channels, height, width) to output (num, out_channels, ...). The result is the same with any
    // number of threads. Throws std::bad_alloc, and std::runtime_error where the threads cannot be started.
    void run(const float* input, int num, int height, int width, float* output, int num_threads);

    // Memory that the pictures between input and output take for this size, whatever the number of frames.
    std::size_t picture_bytes(int height, int width);

private:
    struct Step {
        int layer;       // or one more than there are, which writes the output
        int begin, end;  // rows of its target
    };
    struct Free {
        void operator()(float* memory) const;
    };
    using Memory = std::unique_ptr<float, Free>;

    std::mutex& mutex_here();
    void ensure_pool(int num_threads);
    static Memory allocate(std::size_t num_floats);
    int doublings_of(int picture) const { return pictures_[picture].doublings; }
    void plan(int height, int width);
    void plan_steps(int height);
    int advance(int layer, const std::vector<int>& done, int height) const;
    void size_rings(int height);
    std::size_t lay_out(int height, int width);
    void place(int height, int width);
    void read(const float* input, int begin, int end) const;
    void write(const float* input, int begin, int end, float* output) const;
    void compute(const Step& step);

    const Kernels& kernels_;
    NetworkSpec spec_;
    std::vector<PictureSpec> pictures_;
    std::vector<LayerSpec> specs_;
    std::vector<Layer> layers_;
    Memory weights_;  // and biases and slopes
    // One call at a time, of one process: a fork may leave it held by a thread that the child does not have.
    struct Turn {
        const long process;
        std::mutex mutex;
        explicit Turn(long of) : process(of) {}
    };
    std::atomic<Turn*> turn_{nullptr};
    std::unique_ptr<Pool> pool_;
    long process_ = 0;  // that the pool's threads are in, and that the plan was made in

    // The plan for one size.
    int height_ = 0, width_ = 0;
    std::vector<Step> steps_;
    std::vector<int> ring_rows_;
    std::vector<Picture> placed_;
    std::vector<std::size_t> begins_;  // of them in the arena, in floats; last the row of zeros
    std::size_t scratch_floats_ = 0, arena_floats_ = 0;
    Memory arena_, scratch_;
};

}  // namespace vidsr
