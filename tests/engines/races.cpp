// Two networks called from four threads, for the thread sanitizer; the results must be those of one thread.
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "../../native/network.h"

namespace {

constexpr int kChannels = 16, kLayers = 4, kHeight = 37, kWidth = 41, kShuffle = 2, kColours = 3;

std::vector<float> some_numbers(std::size_t count, unsigned seed) {
    std::vector<float> numbers(count);
    for (float& number : numbers) {
        seed = seed * 1664525u + 1013904223u;
        number = float(seed >> 8) / float(1 << 24) - 0.5f;
    }
    return numbers;
}

// A compact network of a few layers.
struct Example {
    std::vector<vidsr::PictureSpec> pictures;
    std::vector<vidsr::LayerSpec> layers;
    std::vector<std::vector<float>> kept;

    vidsr::NetworkSpec spec(unsigned seed) {
        for (int i = 0; i <= kLayers; ++i) pictures.push_back({kChannels, 0, i > 0});
        for (int i = 0; i < kLayers; ++i) {
            const int in_channels = i ? kChannels : kColours;
            kept.push_back(some_numbers(std::size_t(kChannels) * in_channels * 9, seed + i));
            kept.push_back(some_numbers(kChannels, seed + 100 + i));
            vidsr::LayerSpec layer{};
            layer.source = layer.more = i;
            layer.in_channels = in_channels;
            layer.target = i + 1;
            layer.out_channels = kChannels;
            layer.weights = kept[kept.size() - 2].data();
            layer.bias = kept.back().data();
            layers.push_back(layer);
        }
        vidsr::NetworkSpec spec{};
        spec.pictures = pictures.data();
        spec.layers = layers.data();
        spec.num_pictures = kLayers + 1;
        spec.num_layers = kLayers;
        spec.in_channels = spec.out_channels = kColours;
        spec.shuffle = kShuffle;
        spec.adds_input = 1;
        spec.band_tiles = 2;
        return spec;
    }
};

}  // namespace

int main() {
    const vidsr::Kernels* kernels = vidsr::find_kernels("portable");
    Example examples[2];
    vidsr::Network first(examples[0].spec(1), *kernels), second(examples[1].spec(2), *kernels);
    vidsr::Network* networks[] = {&first, &second};
    const std::vector<float> input = some_numbers(std::size_t(kColours) * kHeight * kWidth, 3);
    const std::size_t size = input.size() * kShuffle * kShuffle;
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
                networks[i % 2]->run(input.data(), 1, kHeight, kWidth, output.data(), 3);
                same[i] = same[i] && !std::memcmp(output.data(), expected[i % 2].data(), size * sizeof(float));
            }
        });
    for (std::thread& thread : threads) thread.join();
    const bool all = same[0] && same[1] && same[2] && same[3];
    std::puts(all ? "the same results from every thread" : "results differ");
    return all ? 0 : 1;
}
