// What Python calls, by ctypes: plain C, and no exception leaves it.
#include <cstdio>
#include <exception>
#include <new>

#include "network.h"

#if defined(_WIN32)
#define VIDSR_EXPORT extern "C" __declspec(dllexport)
#else
#define VIDSR_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

// Of these functions; one more here and in vidsr/engines/winograd.py with every change of what they take and mean.
constexpr int kVersion = 1;

enum Status { kDone = 0, kNoMemory = 1, kFailed = 2 };

thread_local char last_error[256] = "";

int failed(const char* what) {
    std::snprintf(last_error, sizeof last_error, "%s", what);
    return kFailed;
}

template <class Work>
int guarded(Work work) {
    try {
        work();
        return kDone;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    } catch (const std::exception& error) {
        return failed(error.what());
    } catch (...) {
        return failed("of an exception that says nothing");
    }
}

}  // namespace

// The version and the sizes of what Python passes, which compares them with its own.
VIDSR_EXPORT void vidsr_abi(int* numbers) {
    numbers[0] = kVersion;
    numbers[1] = sizeof(vidsr::PictureSpec);
    numbers[2] = sizeof(vidsr::LayerSpec);
    numbers[3] = sizeof(vidsr::NetworkSpec);
}

// What the last call from this thread that failed said.
VIDSR_EXPORT const char* vidsr_last_error() { return last_error; }

// Floats of a register of this instruction set; 0 if it cannot run here.
VIDSR_EXPORT int vidsr_lanes(const char* instruction_set) {
    const vidsr::Kernels* kernels = vidsr::find_kernels(instruction_set);
    return kernels ? kernels->lanes : 0;
}

VIDSR_EXPORT int vidsr_network_create(const vidsr::NetworkSpec* spec, const char* instruction_set,
                                      vidsr::Network** network) {
    const vidsr::Kernels* kernels = vidsr::find_kernels(instruction_set);
    if (!kernels) return failed("there is no such instruction set");
    return guarded([&] { *network = new vidsr::Network(*spec, *kernels); });
}

VIDSR_EXPORT int vidsr_network_run(vidsr::Network* network, const float* input, int num, int height, int width,
                                   float* output, int num_threads) {
    return guarded([&] { network->run(input, num, height, width, output, num_threads); });
}

// What the pictures between input and output take for this size, in bytes.
VIDSR_EXPORT int vidsr_network_picture_bytes(vidsr::Network* network, int height, int width, double* num_bytes) {
    return guarded([&] { *num_bytes = double(network->picture_bytes(height, width)); });
}

VIDSR_EXPORT void vidsr_network_destroy(vidsr::Network* network) { delete network; }
