// Weights of a 3x3 convolution, brought to the points once.
#pragma once

namespace vidsr {

// weights [out][in][3][3], out_channels a multiple of the lanes, to what Layer::weights wants: kPoints floats for each
// pair of channels.
void transform_weights(const float* weights, int out_channels, int in_channels, int lanes, float* result);

}  // namespace vidsr
