// What Python calls, by ctypes: plain C, and no exception leaves it.
#include <exception>
#include <new>

#include "network.h"

#if defined(_WIN32)
#define VIDSR_EXPORT extern "C" __declspec(dllexport)
#else
#define VIDSR_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {
enum Status { kDone = 0, kNoMemory = 1, kFailed = 2 };
}

// Floats of a register of this instruction set; 0 if it cannot run here.
VIDSR_EXPORT int vidsr_lanes(const char* instruction_set) {
    const vidsr::Kernels* kernels = vidsr::find_kernels(instruction_set);
    return kernels ? kernels->lanes : 0;
}

VIDSR_EXPORT int vidsr_network_create(const vidsr::NetworkSpec* spec, const char* instruction_set,
                                      vidsr::Network** network) {
    const vidsr::Kernels* kernels = vidsr::find_kernels(instruction_set);
    if (!kernels) return kFailed;
    try {
        *network = new vidsr::Network(*spec, *kernels);
        return kDone;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    } catch (const std::exception&) {
        return kFailed;
    }
}

VIDSR_EXPORT int vidsr_network_run(vidsr::Network* network, const float* input, int num, int height, int width,
                                   float* output, int num_threads) {
    try {
        network->run(input, num, height, width, output, num_threads);
        return kDone;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    } catch (const std::exception&) {
        return kFailed;
    }
}

// What the pictures between input and output take for this size, in bytes.
VIDSR_EXPORT int vidsr_network_picture_bytes(vidsr::Network* network, int height, int width, double* num_bytes) {
    try {
        *num_bytes = double(network->picture_bytes(height, width));
        return kDone;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    } catch (const std::exception&) {
        return kFailed;
    }
}

VIDSR_EXPORT void vidsr_network_destroy(vidsr::Network* network) { delete network; }
