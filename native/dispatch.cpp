// Which of the compiled instruction sets this processor runs.
#include <cstring>

#include "kernels.h"

namespace vidsr {

#if defined(VIDSR_X86)
extern const Kernels avx512, avx2;
#endif
extern const Kernels portable;

const Kernels* find_kernels(const char* name) {
    const bool any = *name == '\0';
#if defined(VIDSR_X86)
    if ((any || !std::strcmp(name, "avx512")) && __builtin_cpu_supports("avx512f")) return &avx512;
    if ((any || !std::strcmp(name, "avx2")) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    return any || !std::strcmp(name, "portable") ? &portable : nullptr;
}

}  // namespace vidsr
