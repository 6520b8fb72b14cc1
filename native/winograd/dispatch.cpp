// Which of the compiled instruction sets this processor runs.
#include <cstring>

#include "kernels.h"

namespace vidsr {

#if defined(VIDSR_X86)
extern const Kernels avx512, avx2;
#endif
extern const Kernels portable;

#if defined(VIDSR_X86)
// All that hatch_build.py lets the compiler use in each unit.
static bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif

const Kernels* find_kernels(const char* name) {
    const bool any = *name == '\0';
#if defined(VIDSR_X86)
    if ((any || !std::strcmp(name, "avx512")) && runs_avx512()) return &avx512;
    if ((any || !std::strcmp(name, "avx2")) && runs_avx2()) return &avx2;
#endif
    return any || !std::strcmp(name, "portable") ? &portable : nullptr;
}

}  // namespace vidsr
