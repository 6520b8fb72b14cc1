// Two networks called from four threads, with two or three threads of their own, for the thread sanitizer; the results
// must be those of one thread.
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "../../native/winograd/network.h"

namespace {

constexpr int kChannels = 16, kHeight = 37, kWidth = 41, kScale = 2, kColours = 3;

std::vector<float> some_numbers(std::size_t count, unsigned seed) {
    std::vector<float> numbers(count);
    for (float& number : numbers) {
        seed = seed * 1664525u + 1013904223u;
        number = float(seed >> 8) / float(1 << 24) - 0.5f;
    }
    return numbers;
}

// Layers of random weights, and the pictures between them.
struct Example {
    unsigned seed;
    std::vector<vidsr::PictureSpec> pictures;
    std::vector<vidsr::LayerSpec> layers;
    std::vector<std::vector<float>> kept;

    explicit Example(unsigned first_seed) : seed(first_seed) { pictures.push_back({kChannels, 0, 0}); }

    const float* numbers(std::size_t count) {
        kept.push_back(some_numbers(count, ++seed));
        return kept.back().data();
    }

    // From the last picture to a new one.
    vidsr::LayerSpec& layer(int band, int doublings, bool is_local) {
        const int source = int(pictures.size()) - 1;
        vidsr::LayerSpec layer{};
        layer.source = layer.more = source;
        layer.in_channels = source ? kChannels : kColours;
        layer.target = source + 1;
        layer.out_channels = kChannels;
        layer.doubles = doublings > pictures.back().doublings;
        layer.band = band;
        layer.weights = numbers(std::size_t(kChannels) * layer.in_channels * 9);
        layer.bias = numbers(kChannels);
        pictures.push_back({kChannels, doublings, is_local});
        layers.push_back(layer);
        return layers.back();
    }

    vidsr::NetworkSpec spec(int shuffle, bool adds_input) const {
        vidsr::NetworkSpec spec{};
        spec.pictures = pictures.data();
        spec.layers = layers.data();
        spec.num_pictures = int(pictures.size());
        spec.num_layers = int(layers.size());
        spec.in_channels = spec.out_channels = kColours;
        spec.shuffle = shuffle;
        spec.adds_input = adds_input;
        spec.band_tiles = 2;
        return spec;
    }
};

// One band, shuffled.
Example compact() {
    Example example(1);
    for (int i = 0; i < 4; ++i) example.layer(0, 0, true);
    return example;
}

// Three bands, residuals of two pictures, and a last one that doubles.
Example residual() {
    Example example(100);
    example.layer(0, 0, false);
    vidsr::LayerSpec& inner = example.layer(1, 0, true);
    inner.slopes = example.numbers(kChannels);
    vidsr::LayerSpec& last = example.layer(1, 0, false);
    last.num_residuals = 2;
    for (int n = 0; n < 2; ++n) {
        last.residuals[n] = 1 + n;
        last.residual_weights[n] = 0.5f;
    }
    example.layer(2, 1, true).slopes = example.numbers(kChannels);
    example.layer(2, 1, true);
    return example;
}

}  // namespace

int main() {
    const vidsr::Kernels* kernels = vidsr::find_kernels("portable");
    const Example examples[] = {compact(), residual()};
    vidsr::Network first(examples[0].spec(kScale, true), *kernels), second(examples[1].spec(1, false), *kernels);
    vidsr::Network* networks[] = {&first, &second};
    const std::vector<float> input = some_numbers(std::size_t(kColours) * kHeight * kWidth, 3);
    const std::size_t size = input.size() * kScale * kScale;
    std::vector<float> expected[2];
    for (int i = 0; i < 2; ++i) {
        expected[i].resize(size);
        networks[i]->run(input.data(), 1, kHeight, kWidth, expected[i].data(), 1);
    }
    bool same[4] = {true, true, true, true};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            std::vector<float> output(size);
            for (int n = 0; n < 10; ++n) {
                networks[i % 2]->run(input.data(), 1, kHeight, kWidth, output.data(), 2 + i / 2);
                same[i] = same[i] && !std::memcmp(output.data(), expected[i % 2].data(), size * sizeof(float));
            }
        });
    for (std::thread& thread : threads) thread.join();
    const bool all = same[0] && same[1] && same[2] && same[3];
    std::puts(all ? "the same results from every thread" : "results differ");
    return all ? 0 : 1;
}
