#include "network.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "denormals.h"
#include "weights.h"

namespace vidsr {

namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;  // a huge one

// Rows that a thread reads or writes at a time.
constexpr int kRowsOfPiece = 8;

int pieces(int size, int size_of_piece) { return (size + size_of_piece - 1) / size_of_piece; }
int tiles(int side) { return pieces(side, kTile); }

// Pixels from one row to the next: the results of whole tiles, a column of zeros before, and after as many as a
// layer that doubles may read. Odd, lest all rows fall into the same sets of the cache.
int row_pixels(int width) { return (tiles(width) * kTile + 6) | 1; }

long this_process() {
#if defined(_WIN32)
    return 0;  // which knows no fork
#else
    return getpid();
#endif
}

}  // namespace

Network::Network(const NetworkSpec& spec, const Kernels& kernels)
    : kernels_(kernels),
      spec_(spec),
      pictures_(spec.pictures, spec.pictures + spec.num_pictures),
      specs_(spec.layers, spec.layers + spec.num_layers),
      layers_(spec.num_layers) {
    std::size_t num_floats = 0;
    for (const LayerSpec& from : specs_) num_floats += std::size_t(from.out_channels) * (kPoints * from.in_channels + 2);
    weights_ = allocate(num_floats);
    float* free = weights_.get();
    const auto take = [&free](std::size_t count) { return std::exchange(free, free + count); };
    const auto keep = [&take](const float* from, int count) { return std::copy_n(from, count, take(count)) - count; };
    for (std::size_t i = 0; i < specs_.size(); ++i) {
        const LayerSpec& from = specs_[i];
        Layer& layer = layers_[i];
        layer.target_channel = from.target_channel;
        layer.in_channels = from.in_channels;
        layer.num_out_blocks = from.out_channels / kernels.lanes;
        layer.doubles = from.doubles != 0;
        layer.num_residuals = from.num_residuals;
        std::copy_n(from.residual_weights, kMaxResiduals, layer.residual_weights);
        float* weights = take(std::size_t(from.out_channels) * kPoints * from.in_channels);
        transform_weights(from.weights, from.out_channels, from.in_channels, kernels.lanes, weights);
        layer.weights = weights;
        layer.bias = keep(from.bias, from.out_channels);
        if (from.slopes) layer.slopes = keep(from.slopes, from.out_channels);
        scratch_floats_ = std::max(scratch_floats_, kernels.scratch_floats(layer));
    }
    scratch_floats_ = (scratch_floats_ + 1023) / 1024 * 1024;
}

Network::~Network() {
    Turn* turn = turn_.load();
    if (turn && turn->process == this_process()) delete turn;
    if (process_ != this_process()) (void)pool_.release();
}

// A forked process has the engine but none of its threads, and their locks as they were left: it gets new ones.
std::mutex& Network::mutex_here() {
    Turn* turn = turn_.load();
    if (turn && turn->process == this_process()) return turn->mutex;
    std::unique_ptr<Turn> fresh(new Turn(this_process()));
    if (turn_.compare_exchange_strong(turn, fresh.get())) turn = fresh.release();  // else another thread was first
    return turn->mutex;
}

void Network::ensure_pool(int num_threads) {
    if (process_ != this_process()) {
        (void)pool_.release();
        height_ = width_ = 0;  // the plan may be half another's
        process_ = this_process();
    }
    if (pool_ && pool_->num_threads() == num_threads) return;
    pool_.reset();
    std::unique_ptr<Pool> pool(new Pool(num_threads));
    scratch_.reset();
    scratch_ = allocate(scratch_floats_ * num_threads);
    pool_ = std::move(pool);
}

void Network::Free::operator()(float* memory) const { ::operator delete(memory, std::align_val_t{kPage}); }

Network::Memory Network::allocate(std::size_t num_floats) {
    const std::size_t bytes = (num_floats * sizeof(float) + kPage - 1) / kPage * kPage;
    Memory memory(static_cast<float*>(::operator new(bytes, std::align_val_t{kPage})));
#if defined(__linux__)
    madvise(memory.get(), bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void Network::plan(int height, int width) {
    if (height == height_ && width == width_) return;
    height_ = width_ = 0;  // until this one stands
    plan_steps(height);
    size_rings(height);
    place(height, width);
    height_ = height;
    width_ = width;
}

// Band by band: every layer of a band goes as far as what it reads allows, at most one band further at a time. A
// last step of each band of the last layers writes the output.
void Network::plan_steps(int height) {
    const int num_layers = int(specs_.size());
    steps_.clear();
    std::vector<int> done(num_layers + 1, 0);
    for (int first = 0; first < num_layers;) {
        int last = first;
        while (last < num_layers && specs_[last].band == specs_[first].band) ++last;
        const int end = last == num_layers ? num_layers + 1 : last;  // with the output
        for (bool goes_on = true; goes_on;) {
            goes_on = false;
            for (int i = first; i < end; ++i) {
                const int level = i < num_layers ? doublings_of(specs_[i].target) : pictures_.back().doublings;
                int limit = advance(i, done, height);
                const bool is_alone = last - first == 1 || spec_.band_tiles == 0;
                if (!is_alone) limit = std::min(limit, done[i] + (spec_.band_tiles * kTile << level));
                if (limit <= done[i]) continue;
                steps_.push_back({i, done[i], limit});
                done[i] = limit;
                goes_on = true;
            }
        }
        first = last;
    }
}

// How many rows of a layer can be made of what the layers before it have done.
int Network::advance(int layer, const std::vector<int>& done, int height) const {
    const auto rows_of = [&](int picture) {
        int rows = height << doublings_of(picture);
        for (int i = 0; i < std::min(layer, int(specs_.size())); ++i)
            if (specs_[i].target == picture) rows = std::min(rows, done[i]);
        return rows;
    };
    const int num_layers = int(specs_.size());
    if (layer == num_layers) return rows_of(int(pictures_.size()) - 1);
    const LayerSpec& spec = specs_[layer];
    const int full = height << doublings_of(spec.target);
    int limit = full;
    const int source_rows = std::min(rows_of(spec.source), rows_of(spec.more));
    if (source_rows < height << doublings_of(spec.source))
        limit = spec.doubles ? 2 * source_rows - 1 : source_rows - 1;  // a tile looks one row further
    for (int n = 0; n < spec.num_residuals; ++n)
        limit = std::min(limit, rows_of(spec.residuals[n]));
    return limit >= full ? full : std::max(limit, 0) / kTile * kTile;
}

// Local pictures need the rows that are made and not yet used up; others all.
void Network::size_rings(int height) {
    const int num_layers = int(specs_.size());
    ring_rows_.assign(pictures_.size(), 1);
    std::vector<int> done(num_layers + 1, 0);
    for (const Step& step : steps_) {
        done[step.layer] = step.end;
        if (step.layer == num_layers) continue;
        const int picture = specs_[step.layer].target, band = specs_[step.layer].band;
        int needed = height << doublings_of(picture);
        if (picture == int(pictures_.size()) - 1) needed = done[num_layers];
        for (int i = 0; i < num_layers; ++i) {
            const LayerSpec& spec = specs_[i];
            if (spec.band != band || done[i] == height << doublings_of(spec.target)) continue;
            if (spec.source == picture || spec.more == picture)
                needed = std::min(needed, std::max((done[i] - 1) >> (spec.doubles ? 1 : 0), 0));
            for (int n = 0; n < spec.num_residuals; ++n)
                if (spec.residuals[n] == picture) needed = std::min(needed, done[i]);
        }
        ring_rows_[picture] = std::max(ring_rows_[picture], step.end - needed);
    }
    for (std::size_t i = 0; i < pictures_.size(); ++i)
        if (!pictures_[i].is_local) ring_rows_[i] = height << pictures_[i].doublings;
}

// How many floats the pictures take, and where in them each begins.
std::size_t Network::lay_out(int height, int width) {
    placed_.assign(pictures_.size(), Picture{});
    begins_.assign(pictures_.size() + 1, 0);
    std::size_t floats = 0, widest = 0;
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
        Picture& picture = placed_[i];
        picture.num_channels = pictures_[i].num_channels;
        picture.height = height << pictures_[i].doublings;
        picture.width = width << pictures_[i].doublings;
        picture.num_rows = ring_rows_[i];
        picture.row_stride = std::ptrdiff_t{row_pixels(picture.width)} * picture.num_channels;
        begins_[i] = floats;
        floats += std::size_t(picture.row_stride) * picture.num_rows;
        widest = std::max(widest, std::size_t(picture.row_stride));
    }
    begins_.back() = floats;
    return floats + widest;
}

void Network::place(int height, int width) {
    const std::size_t floats = lay_out(height, width);
    if (floats > arena_floats_) {
        arena_floats_ = 0;
        arena_.reset();  // before more is asked for
        arena_ = allocate(floats);
        arena_floats_ = floats;
    }
    std::memset(arena_.get(), 0, floats * sizeof(float));
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
        placed_[i].data = arena_.get() + begins_[i];
        placed_[i].zero_row = arena_.get() + begins_.back();
    }
    for (std::size_t i = 0; i < specs_.size(); ++i) {
        layers_[i].source = placed_[specs_[i].source];
        layers_[i].more = placed_[specs_[i].more];
        layers_[i].target = placed_[specs_[i].target];
        for (int n = 0; n < specs_[i].num_residuals; ++n) layers_[i].residuals[n] = placed_[specs_[i].residuals[n]];
    }
}

std::size_t Network::picture_bytes(int height, int width) {
    const std::lock_guard<std::mutex> lock(mutex_here());
    height_ = width_ = 0;  // the plan that stood is overwritten
    plan_steps(height);
    size_rings(height);
    return lay_out(height, width) * sizeof(float);
}

void Network::run(const float* input, int num, int height, int width, float* output, int num_threads) {
    const std::lock_guard<std::mutex> lock(mutex_here());
    ensure_pool(num_threads);
    plan(height, width);
    const Picture& last = placed_.back();
    const std::size_t in_floats = std::size_t(spec_.in_channels) * height * width;
    const std::size_t out_floats =
        std::size_t(spec_.out_channels) * last.height * last.width * spec_.shuffle * spec_.shuffle;
    const int num_layers = int(layers_.size());
    for (int n = 0; n < num; ++n, input += in_floats, output += out_floats) {
        pool_->run(pieces(height, kRowsOfPiece), [&](int piece, int) {
            read(input, piece * kRowsOfPiece, std::min(height, (piece + 1) * kRowsOfPiece));
        });
        for (const Step& step : steps_) {
            if (step.layer < num_layers) {
                compute(step);
                continue;
            }
            pool_->run(pieces(step.end - step.begin, kRowsOfPiece), [&](int piece, int) {
                const int begin = step.begin + piece * kRowsOfPiece;
                write(input, begin, std::min(step.end, begin + kRowsOfPiece), output);
            });
        }
    }
}

// In strips of equal length, as many for each thread.
void Network::compute(const Step& step) {
    const Layer& layer = layers_[step.layer];
    const int across = layer.tiles_across(), num_threads = pool_->num_threads();
    const int first = step.begin / kTile * across, count = tiles(step.end - step.begin) * across;
    const int num_strips = std::min(count, pieces(pieces(count, kernels_.max_tiles), num_threads) * num_threads);
    pool_->run(num_strips, [&](int strip, int thread) {
        const WithoutDenormals guard;
        const int begin = int(std::int64_t{count} * strip / num_strips);
        const int end = int(std::int64_t{count} * (strip + 1) / num_strips);
        kernels_.run_strip(layer, first + begin, end - begin, scratch_.get() + scratch_floats_ * thread);
    });
}

// Planes to pixels.
void Network::read(const float* input, int begin, int end) const {
    const Picture& picture = placed_.front();
    for (int y = begin; y < end; ++y) {
        float* row = picture.row(y);
        for (int c = 0; c < spec_.in_channels; ++c) {
            const float* plane = input + (std::size_t(c) * picture.height + y) * picture.width;
            for (int x = 0; x < picture.width; ++x) row[std::ptrdiff_t{x} * picture.num_channels + c] = plane[x];
        }
    }
}

// Pixels to planes: shuffled, and with the input added where that is wanted.
void Network::write(const float* input, int begin, int end, float* output) const {
    const Picture& picture = placed_.back();
    const int side = spec_.shuffle, channels = picture.num_channels;
    const std::size_t out_width = std::size_t(picture.width) * side;
    for (int y = begin; y < end; ++y)
        for (int c = 0; c < spec_.out_channels; ++c) {
            const float* base = input + (std::size_t(c) * picture.height + y) * picture.width;
            for (int i = 0; i < side; ++i) {
                float* to = output + ((std::size_t(c) * picture.height + y) * side + i) * out_width;
                const float* from = picture.row(y) + (c * side + i) * side;
                for (int x = 0; x < picture.width; ++x, from += channels, to += side) {
                    const float added = spec_.adds_input ? base[x] : 0.0f;
                    for (int j = 0; j < side; ++j) to[j] = from[j] + added;
                }
            }
        }
}

}  // namespace vidsr
