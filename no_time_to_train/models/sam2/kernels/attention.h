// Attention between the tokens of one prompt and its image tokens, in the factored form of folded_transformer.py.
#pragma once

#include "vectors.h"

namespace {

constexpr int PANELS_AT_ONCE = 4;  // between two corrections of a running softmax

struct Sizes {
    int heads, count, depth, rows, panels;  // tokens of a prompt, channels of a head, rows of the basis so far
    int total() const { return heads * count; }
};

// Attention scores of one prompt's tokens: Scores in factored_tokens.py.
struct Scores {
    Sizes sizes;
    const float *image, *position, *basis, *scale;
    int64_t basis_stride;  // from panel to panel
    floats tokens, mixing;

    Scores(Sizes s, const float* tokens, const float* mixing, const float* image, const float* position,
           const float* basis, int64_t basis_stride, const float* scale)
        : sizes(s), image(image), position(position), basis(basis), scale(scale), basis_stride(basis_stride),
          tokens(packed_heads(tokens, s.heads, s.count, s.depth)),
          mixing(packed_heads(mixing, s.heads, s.count, s.rows)) {}

    // out (heads * count, 32)
    void of(int panel, float* out) const {
        auto [heads, count, depth, rows, panels] = sizes;
        for (int head = 0; head < heads; ++head)
            for (int t = 0; t < count; t += TILE) {
                int tile = std::min(TILE, count - t), row = head * count + t;
                int64_t place = (int64_t(panel) * heads + head) * depth * PANEL;
                float* scores = out + row * PANEL;
                product(tile, tokens.data() + row * depth, tile, depth, image + place, scores, false);
                if (!rows) continue;
                product(tile, mixing.data() + row * rows, tile, rows, basis + panel * basis_stride, scores, true);
                for (int i = 0; i < tile * PANEL; i += LANES)
                    store(scores + i, load(scores + i) * load(scale + panel * PANEL + i % PANEL));
                product(tile, tokens.data() + row * depth, tile, depth, position + place, scores, true);
            }
    }
};

// What one prompt's tokens have read so far: a softmax over the image that goes on from panels to panels.
struct Reading {
    Scores scores;
    int padded, chunks;  // a head's channels up to whole vectors, the basis's rows in PANELs
    floats weights, turned, turned_basis, most, sums, of_values, of_basis;

    explicit Reading(Scores from)
        : scores(std::move(from)), padded(whole_vectors(scores.sizes.depth)),
          chunks((scores.sizes.rows + PANEL - 1) / PANEL) {
        size_t total = scores.sizes.total();
        weights.resize(PANELS_AT_ONCE * total * PANEL);
        turned.resize(PANEL * whole_vectors(total));
        turned_basis.resize(PANEL * PANEL);
        most.resize(total, -3e38f);
        sums.resize(total);
        of_values.resize(total * PANEL);
        of_basis.resize(chunks * total * PANEL);
    }

    void go_on(int start, int panels, const float* values) {
        int64_t stride = int64_t(scores.sizes.total()) * PANEL;
        for (int p = 0; p < panels; ++p) scores.of(start + p, weights.data() + p * stride);
        for (int row = 0; row < scores.sizes.total(); ++row) weigh(row, start, panels, stride);
        for (int p = 0; p < panels; ++p) add(start + p, weights.data() + p * stride, values);
    }

    // Scores of a row to weights: e^(score - the highest so far), which what was added before is brought to as well.
    void weigh(int row, int start, int panels, int64_t stride) {
        float* first = weights.data() + row * PANEL;
        vec highest = all(most[row]), added = {};
        for (int p = 0; p < panels; ++p)
            for (int j = 0; j < PANEL; j += LANES) highest = larger(highest, load(first + p * stride + j));
        float maximum = largest(highest);
        for (int p = 0; p < panels; ++p) {
            float* at = first + p * stride;
            vec weight[VECTORS];
            for (int j = 0; j < VECTORS; ++j) weight[j] = load(at + j * LANES) - maximum;
            exponential(weight);
            for (int j = 0; j < VECTORS; ++j) {
                added += weight[j];
                if (scores.scale) weight[j] *= load(scores.scale + (start + p) * PANEL + j * LANES);
                store(at + j * LANES, weight[j]);
            }
        }
        vec fading[] = {all(most[row] - maximum)};
        exponential(fading);
        sums[row] = sums[row] * fading[0][0] + sum(added);
        if (most[row] == maximum) return;
        most[row] = maximum;
        for (int j = 0; j < PANEL; ++j) of_values[row * PANEL + j] *= fading[0][0];
        for (int c = 0; c < chunks; ++c)
            for (int j = 0; j < PANEL; ++j) of_basis[(c * scores.sizes.total() + row) * PANEL + j] *= fading[0][0];
    }

    void add(int panel, const float* panel_weights, const float* values) {
        auto [heads, count, depth, rows, panels] = scores.sizes;
        int total = heads * count, stride = whole_vectors(total);
        transpose(panel_weights, total, turned.data(), stride);
        for (int head = 0; head < heads; ++head)
            product(count, turned.data() + head * count, stride, PANEL,
                    values + (int64_t(panel) * heads + head) * PANEL * padded, of_values.data() + head * count * PANEL,
                    true, padded, padded);
        for (int c = 0; c < chunks; ++c) {
            const float* from = scores.basis + panel * scores.basis_stride + c * PANEL * PANEL;
            transpose(from, std::min(PANEL, rows - c * PANEL), turned_basis.data(), PANEL);
            product(total, turned.data(), stride, PANEL, turned_basis.data(), of_basis.data() + c * total * PANEL,
                    true);
        }
    }

    void finish(float* read, float* by_row) const {
        auto [heads, count, depth, rows, panels] = scores.sizes;
        int total = heads * count;
        for (int row = 0; row < total; ++row) {
            for (int k = 0; k < depth; ++k) read[row * depth + k] = of_values[row * PANEL + k] / sums[row];
            for (int k = 0; k < rows; ++k)
                by_row[row * rows + k] = of_basis[(k / PANEL * total + row) * PANEL + k % PANEL] / sums[row];
        }
    }
};

// One prompt's image attends to its tokens, then the layer norm: new rows of the basis and a new scale.
struct Update {
    Scores scores;
    float eps;
    float* basis;
    const float* power;
    float* new_scale;
    floats values, gram;

    Update(Scores from, float eps, float* basis, const float* all_values, const float* full_gram, const float* power,
           float* new_scale)
        : scores(std::move(from)), eps(eps), basis(basis), power(power), new_scale(new_scale) {
        auto [heads, count, depth, rows, panels] = scores.sizes;
        int all_rows = rows + heads * count;
        values = packed_heads(all_values, all_rows / count, count, depth);
        gram.resize(size_t(all_rows) * all_rows);
        floats half(size_t(TILE) * all_rows);
        // A symmetric form: what comes before a tile of rows counts twice, what comes after it not at all.
        for (int head = 0; head < all_rows; head += count)
            for (int t = 0; t < count; t += TILE) {
                int tile = std::min(TILE, count - t), row = head + t, width = row + tile;
                for (int i = 0; i < tile; ++i)
                    for (int k = 0; k < width; ++k)
                        half[i * width + k] = full_gram[(row + i) * int64_t(all_rows) + k] * (k < row ? 2.0f : 1.0f);
                pack(half.data(), tile, width, gram.data() + int64_t(row) * all_rows);
            }
    }

    void of(int panel, const float* cross) {
        float* at = basis + panel * scores.basis_stride;
        float* fresh = at + scores.sizes.rows * PANEL;
        scores.of(panel, fresh);
        vec before[VECTORS], square[VECTORS];
        for (int j = 0; j < VECTORS; ++j) {
            before[j] = scores.scale ? load(scores.scale + panel * PANEL + j * LANES) : all(1.0f);
            square[j] = load(power + panel * PANEL + j * LANES);
        }
        for (int head = 0; head < scores.sizes.heads; ++head)
            softmax(fresh + head * scores.sizes.count * PANEL, before);
        add_squares(at, cross + panel * cross_stride(), square);
        for (int j = 0; j < VECTORS; ++j)
            store(new_scale + panel * PANEL + j * LANES,
                  before[j] * inverse_root(before[j] * before[j] * square[j] + eps));
    }

    int64_t cross_stride() const {
        return int64_t(scores.sizes.rows / scores.sizes.count + scores.sizes.heads) * scores.sizes.depth * PANEL;
    }

    // Over the tokens of a head, over the scale so far.
    void softmax(float* rows, const vec (&before)[VECTORS]) const {
        int count = scores.sizes.count;
        vec highest[VECTORS], total[VECTORS] = {}, weight[VECTORS];
        for (int j = 0; j < VECTORS; ++j) highest[j] = load(rows + j * LANES);
        for (int t = 1; t < count; ++t)
            for (int j = 0; j < VECTORS; ++j) highest[j] = larger(highest[j], load(rows + t * PANEL + j * LANES));
        for (int t = 0; t < count; ++t) {
            for (int j = 0; j < VECTORS; ++j) weight[j] = load(rows + t * PANEL + j * LANES) - highest[j];
            exponential(weight);
            for (int j = 0; j < VECTORS; ++j) {
                total[j] += weight[j];
                store(rows + t * PANEL + j * LANES, weight[j]);
            }
        }
        for (int j = 0; j < VECTORS; ++j) total[j] = 1.0f / (total[j] * before[j]);
        for (int t = 0; t < count; ++t)
            for (int j = 0; j < VECTORS; ++j) {
                float* at = rows + t * PANEL + j * LANES;
                store(at, load(at) * total[j]);
            }
    }

    // Mean square over channels: _FactoredLayerNorm in folded_transformer.py.
    void add_squares(const float* at, const float* cross, vec (&square)[VECTORS]) const {
        auto [heads, count, depth, rows, panels] = scores.sizes;
        int all_rows = rows + heads * count;
        float mixed[TILE * PANEL];
        for (int head = 0; head < all_rows / count; ++head)
            for (int t = 0; t < count; t += TILE) {
                int tile = std::min(TILE, count - t), row = head * count + t;
                product(tile, values.data() + row * depth, tile, depth, cross + head * depth * PANEL, mixed, false);
                product(tile, gram.data() + int64_t(row) * all_rows, tile, row + tile, at, mixed, true);
                for (int i = 0; i < tile; ++i)
                    for (int j = 0; j < VECTORS; ++j)
                        square[j] += load(mixed + i * PANEL + j * LANES) * load(at + (row + i) * PANEL + j * LANES);
            }
    }
};

}  // namespace
