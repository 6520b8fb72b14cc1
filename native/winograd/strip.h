// One layer over a strip of tiles: to points, multiplied, and back, in a scratch that fits the cache.
#pragma once

#include "layer.h"
#include "multiply.h"
#include "transforms.h"

namespace {

using vidsr::kPatch;
using vidsr::kPoints;
using vidsr::kTile;
using vidsr::Layer;
using vidsr::Picture;

inline int min_of(int a, int b) { return a < b ? a : b; }
inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }

// Tiles of a strip that lie side by side in one row of tiles.
struct Run {
    int y, x;    // of the first result
    int first;   // its number within the strip
    int column;  // of its first sample within the strip: runs do not share samples
    int num_tiles;
};

template <class Visit>
void each_run(const Layer& layer, int first_tile, int num_tiles, Visit visit) {
    const int across = layer.tiles_across();
    int column = 0;
    for (int done = 0; done < num_tiles;) {
        const int tile = first_tile + done;
        const int count = min_of(num_tiles - done, across - tile % across);
        visit(Run{tile / across * kTile, tile % across * kTile, done, column, count});
        done += count;
        column += count * kTile + 2;
    }
}

// Where things lie in the scratch, in vectors. Strides are odd, lest all rows fall into the same sets of the cache.
struct Scratch {
    int num_tiles, num_columns, num_in_blocks, num_out_blocks;
    std::ptrdiff_t column_stride, point_stride, product_stride, half_stride;
    Vec *columns;   // [row of points][block][column]: samples transformed downwards
    Vec *points;    // [point of the row][block][tile]
    Vec *products;  // [point of the row][tile][block of the pair]
    Vec *halves;    // [row of points][block][tile][column of the tile]: products transformed across

    Scratch(const Layer& layer, int first_tile, int tiles, float* memory) {
        num_tiles = tiles;
        num_columns = 0;
        each_run(layer, first_tile, tiles, [&](const Run& run) { num_columns = run.column + run.num_tiles * kTile + 2; });
        num_in_blocks = (layer.in_channels + kLanes - 1) / kLanes;
        num_out_blocks = layer.num_out_blocks;
        column_stride = std::ptrdiff_t{num_in_blocks} * num_columns | 1;
        point_stride = std::ptrdiff_t{num_in_blocks} * tiles | 1;
        product_stride = std::ptrdiff_t{2} * tiles | 1;
        half_stride = std::ptrdiff_t{num_out_blocks} * tiles * kTile | 1;
        columns = reinterpret_cast<Vec*>(memory);
        points = columns + kPatch * column_stride;
        products = points + kPatch * point_stride;
        halves = products + kPatch * product_stride;
    }
};

// The blocks of one picture that the layer reads.
void transform_columns(const Layer& layer, const Picture& source, int first_block, int num_blocks, const Run& run,
                       const Scratch& scratch) {
    const int shift = layer.doubles ? 1 : 0;
    const float* rows[kPatch];
    for (int i = 0; i < kPatch; ++i) rows[i] = source.row_or_zero((run.y + i - 1) >> shift);
    for (int column = 0; column < run.num_tiles * kTile + 2; ++column) {
        const std::ptrdiff_t pixel = std::ptrdiff_t{(run.x + column - 1) >> shift} * source.num_channels;
        Vec* target = scratch.columns + first_block * scratch.num_columns + run.column + column;
        for (int block = 0; block < num_blocks; ++block, target += scratch.num_columns) {
            Vec samples[kPatch], result[kPatch];
#pragma GCC unroll 8
            for (int i = 0; i < kPatch; ++i) samples[i] = load(rows[i] + pixel + block * kLanes);
            to_points(samples, result);
#pragma GCC unroll 8
            for (int i = 0; i < kPatch; ++i) target[i * scratch.column_stride] = result[i];
        }
    }
}

void transform_rows(const Run& run, int row, const Scratch& scratch) {
    for (int block = 0; block < scratch.num_in_blocks; ++block) {
        const Vec* source = scratch.columns + row * scratch.column_stride + block * scratch.num_columns + run.column;
        Vec* target = scratch.points + block * scratch.num_tiles + run.first;
        for (int tile = 0; tile < run.num_tiles; ++tile, source += kTile, ++target) {
            Vec samples[kPatch], result[kPatch];
#pragma GCC unroll 8
            for (int j = 0; j < kPatch; ++j) samples[j] = source[j];
            to_points(samples, result);
#pragma GCC unroll 8
            for (int j = 0; j < kPatch; ++j) target[j * scratch.point_stride] = result[j];
        }
    }
}

// One row of points times the weights of one or two blocks of results, transformed across.
template <int Vectors>
void multiply_row(const Layer& layer, int row, int first_block, const Scratch& scratch) {
    const std::ptrdiff_t panel = std::ptrdiff_t{layer.in_channels} * Vectors;
    const Vec* weights = reinterpret_cast<const Vec*>(layer.weights) +
                         std::ptrdiff_t{first_block} * kPoints * layer.in_channels + row * kPatch * panel;
    for (int j = 0; j < kPatch; ++j) {
        const Vec* factors = scratch.points + j * scratch.point_stride;
        multiply_rows<Vectors>(scratch.num_tiles, reinterpret_cast<const float*>(factors), weights + j * panel,
                               layer.in_channels, scratch.products + j * scratch.product_stride,
                               reinterpret_cast<const float*>(factors + scratch.point_stride),
                               weights + (j + 1) * panel);
    }
    for (int v = 0; v < Vectors; ++v) {
        Vec* target = scratch.halves + row * scratch.half_stride + (first_block + v) * scratch.num_tiles * kTile;
        for (int tile = 0; tile < scratch.num_tiles; ++tile, target += kTile) {
            Vec samples[kPatch], results[kTile];
#pragma GCC unroll 8
            for (int j = 0; j < kPatch; ++j)
                samples[j] = scratch.products[j * scratch.product_stride + tile * Vectors + v];
            from_points(samples, results);
#pragma GCC unroll 6
            for (int j = 0; j < kTile; ++j) target[j] = results[j];
        }
    }
}

// Transforms downwards, then everything that is done to a result by itself.
void finish(const Layer& layer, const Run& run, const Scratch& scratch) {
    const Picture& target = layer.target;
    const int num_rows = min_of(kTile, target.height - run.y);
    const int num_columns = min_of(run.num_tiles * kTile, target.width - run.x);
    float* rows[kTile];
    const float* added[vidsr::kMaxResiduals][kTile];
    for (int i = 0; i < num_rows; ++i) {
        rows[i] = target.row(run.y + i) + std::ptrdiff_t{run.x} * target.num_channels + layer.target_channel;
        for (int n = 0; n < layer.num_residuals; ++n)
            added[n][i] = layer.residuals[n].row(run.y + i) +
                          std::ptrdiff_t{run.x} * layer.residuals[n].num_channels;
    }
    for (int column = 0; column < num_columns; ++column) {
        for (int block = 0; block < scratch.num_out_blocks; ++block) {
            const int channel = block * kLanes;
            const Vec bias = load(layer.bias + channel);
            const Vec slope = layer.slopes ? load(layer.slopes + channel) : splat(1.0f);
            const Vec* source =
                scratch.halves + (block * scratch.num_tiles + run.first) * kTile + column;
            Vec samples[kPatch], results[kTile];
#pragma GCC unroll 8
            for (int i = 0; i < kPatch; ++i) samples[i] = source[i * scratch.half_stride];
            from_points(samples, results);
#pragma GCC unroll 6
            for (int i = 0; i < kTile; ++i) {
                if (i >= num_rows) break;
                Vec y = rectified(results[i] + bias, slope);
                for (int n = 0; n < layer.num_residuals; ++n)
                    y += layer.residual_weights[n] *
                         load(added[n][i] + std::ptrdiff_t{column} * layer.residuals[n].num_channels + channel);
                store(rows[i] + std::ptrdiff_t{column} * target.num_channels + channel, y);
            }
        }
    }
}

// For any strip of the layer: at worst each of its tiles is a run of its own.
std::size_t scratch_floats(const Layer& layer) {
    const std::size_t in_blocks = (layer.in_channels + kLanes - 1) / kLanes, out_blocks = layer.num_out_blocks;
    const std::size_t vectors_a_row =
        kMaxRows * (in_blocks * (kPatch + 1) + 2 + out_blocks * kTile) + 4;  // 4: for the odd strides
    return kPatch * vectors_a_row * kLanes;
}

void run_strip(const Layer& layer, int first_tile, int num_tiles, float* memory) {
    const Scratch scratch(layer, first_tile, num_tiles, memory);
    const int from_source = min_of(layer.source.num_channels / kLanes, scratch.num_in_blocks);
    each_run(layer, first_tile, num_tiles, [&](const Run& run) {
        transform_columns(layer, layer.source, 0, from_source, run, scratch);
        transform_columns(layer, layer.more, from_source, scratch.num_in_blocks - from_source, run, scratch);
    });
    for (int row = 0; row < kPatch; ++row) {
        each_run(layer, first_tile, num_tiles, [&](const Run& run) { transform_rows(run, row, scratch); });
        int block = 0;
        for (; block + 2 <= layer.num_out_blocks; block += 2) multiply_row<2>(layer, row, block, scratch);
        if (block < layer.num_out_blocks) multiply_row<1>(layer, row, block, scratch);
    }
    each_run(layer, first_tile, num_tiles, [&](const Run& run) { finish(layer, run, scratch); });
}

}  // namespace
