// The element-wise work of analog layers in one pass over memory: temporal noise, column gains, uniform quantization.
//
// Every number is defined by quietbar.noise.temporal and quietbar.analog.readout, whose plain PyTorch code gives the same
// bits. That holds for any compiler, instruction set and number of threads as long as floating-point operations are
// neither fused nor reordered: compile with -ffp-contract=off and without -ffast-math.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace {

constexpr int64_t PARTS = 4;           // 16-bit parts, hence numbers, in a word
constexpr int64_t BLOCK = 512;         // words at a time: their noise stays in the first-level cache
constexpr int64_t RUN = 1 << 14;       // elements at a time where there is no noise
constexpr int64_t WORTH_A_THREAD = 1 << 14;

constexpr uint64_t GAMMA = 0x9E3779B97F4A7C15u;

// SplitMix64's output for an incremented state.
inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// noise[k] = sigma times the quantile picked by part k of the words from number `word` on.
void draw(float* noise, int64_t count, const float* table, float sigma, uint64_t seed, uint64_t word) {
    alignas(64) uint16_t parts[BLOCK * PARTS];
    const int64_t words = (count + PARTS - 1) / PARTS;
    const uint64_t state = seed + (word + 1) * GAMMA;
    auto* packed = reinterpret_cast<unsigned char*>(parts);
    for (int64_t j = 0; j < words; ++j) {
        const uint64_t z = mix(state + static_cast<uint64_t>(j) * GAMMA);
        __builtin_memcpy(packed + 8 * j, &z, 8);  // little-endian: the lowest part comes first
    }
    for (int64_t k = 0; k < count; ++k) noise[k] = table[parts[k]] * sigma;
}

template <typename T>
struct Grid {
    T inverse, step, low, high;  // 1 / step, step, and the lowest and highest code
    T least, most;               // the values of those codes
};

// Half up, like everything in quietbar; NaN stays NaN.
template <typename T>
inline T quantize(T value, const Grid<T>& grid) {
    T code = std::floor(value * grid.inverse + T(0.5));
    code = grid.low > code ? grid.low : code;
    code = grid.high < code ? grid.high : code;
    return code * grid.step;
}

template <typename T>
void quantize_run(const T* from, T* to, int64_t count, const Grid<T>& grid, uint8_t* inside) {
    if (inside)
        for (int64_t k = 0; k < count; ++k) inside[k] = (from[k] >= grid.least) & (from[k] <= grid.most);
    for (int64_t k = 0; k < count; ++k) to[k] = quantize(from[k], grid);
}

template <typename T>
void scale_columns(T* values, int64_t start, int64_t count, const T* gain, const T* offset, int64_t columns,
                   int64_t inner) {
    for (int64_t k = 0; k < count;) {
        const int64_t place = (start + k) / inner, column = place % columns;
        const int64_t end = std::min(count, (place + 1) * inner - start);
        if (gain)
            for (int64_t i = k; i < end; ++i) values[i] = values[i] * gain[column];
        if (offset)
            for (int64_t i = k; i < end; ++i) values[i] = values[i] + offset[column];
        k = end;
    }
}

int useful(int threads, int64_t elements) {
    return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, elements / WORTH_A_THREAD)));
}

template <typename T>
void read_out(T* values, int64_t images, int64_t size, const float* table, double sigma, uint64_t seed, uint64_t image,
              const T* variance, const T* gain, const T* offset, int64_t columns, int64_t inner, const double* levels,
              uint8_t* inside, int threads) {
    const int64_t words = (size + PARTS - 1) / PARTS, blocks = (words + BLOCK - 1) / BLOCK;
    Grid<T> grid{};
    const T square = T(sigma * sigma);
    if (levels) grid = {T(levels[0]), T(levels[1]), T(levels[2]), T(levels[3]), T(levels[4]), T(levels[5])};
#pragma omp parallel for schedule(static) num_threads(useful(threads, images * size))
    for (int64_t unit = 0; unit < images * blocks; ++unit) {
        alignas(64) float noise[BLOCK * PARTS];
        const int64_t row = unit / blocks, word = unit % blocks * BLOCK, start = word * PARTS;
        const int64_t count = std::min(size - start, BLOCK * PARTS), at = row * size + start;
        T* part = values + at;
        if (gain || offset) scale_columns(part, start, count, gain, offset, columns, inner);
        if (table) {
            draw(noise, count, table, variance ? 1.0f : static_cast<float>(sigma), seed,
                 (image + row) * static_cast<uint64_t>(words) + word);
            if (variance)
                for (int64_t k = 0; k < count; ++k) {
                    const T given = variance[at + k];
                    part[k] = part[k] + T(noise[k]) * std::sqrt((given < T(0) ? T(0) : given) + square);
                }
            else
                for (int64_t k = 0; k < count; ++k) part[k] = part[k] + T(noise[k]);
        }
        if (levels) quantize_run(part, part, count, grid, inside ? inside + at : nullptr);
    }
}

template <typename T>
void quantize_all(const T* from, T* to, int64_t size, const double* levels, uint8_t* inside, int threads) {
    const Grid<T> grid = {T(levels[0]), T(levels[1]), T(levels[2]), T(levels[3]), T(levels[4]), T(levels[5])};
#pragma omp parallel for schedule(static) num_threads(useful(threads, size))
    for (int64_t unit = 0; unit < (size + RUN - 1) / RUN; ++unit) {
        const int64_t start = unit * RUN;
        quantize_run(from + start, to + start, std::min(size - start, RUN), grid, inside ? inside + start : nullptr);
    }
}

}  // namespace

#define READ_OUT(TYPE, NAME)                                                                                          \
    extern "C" void NAME(TYPE* values, int64_t images, int64_t size, const float* table, double sigma, uint64_t seed, \
                         uint64_t image, const TYPE* variance, const TYPE* gain, const TYPE* offset, int64_t columns, \
                         int64_t inner, const double* levels, uint8_t* inside, int threads) {                         \
        read_out<TYPE>(values, images, size, table, sigma, seed, image, variance, gain, offset, columns, inner, levels,\
                       inside, threads);                                                                              \
    }
#define QUANTIZE(TYPE, NAME)                                                                                          \
    extern "C" void NAME(const TYPE* from, TYPE* to, int64_t size, const double* levels, uint8_t* inside,             \
                         int threads) {                                                                               \
        quantize_all<TYPE>(from, to, size, levels, inside, threads);                                                  \
    }

READ_OUT(float, read_out_float32)
READ_OUT(double, read_out_float64)
QUANTIZE(float, quantize_float32)
QUANTIZE(double, quantize_float64)
