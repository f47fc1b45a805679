// The two Gaussian sources: draws of a combined Tausworthe generator, made into samples.
//
// Every number is defined by quietbar.contract (uniform, gaussian, inverse_cdf), from which constants and tables come:
// build.py defines the constants, quietbar.integer.compiled passes the tables. All is done in integers; the one floating
// point conversion, of integers below 2**52, is exact.

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

constexpr int WORD = 64;
constexpr int POWERS = 63;               // of two, whose leaps make up any number of steps that is asked for
constexpr int LANES = 16;                // places of the sequence that step together
constexpr int64_t STEPS = 64;            // of all lanes at a time: their draws stay in the first-level cache
constexpr int64_t UNIT = LANES << 11;    // draws that one thread makes from one leap

struct Component {
    uint64_t keep, tap, shift, back;
};

inline uint64_t step(const Component& own, uint64_t word) {
    return ((word & own.keep) << own.shift) ^ (((word << own.tap) ^ word) >> own.back);
}

// Matrix times word over GF(2): the exclusive-or of the columns that the word's bits pick.
inline uint64_t apply(const uint64_t* matrix, uint64_t word) {
    uint64_t image = 0;
    for (int bit = 0; bit < WORD; ++bit) image ^= matrix[bit] & (0 - (word >> bit & 1));
    return image;
}

template <int COMPONENTS>
void leap(uint64_t* state, uint64_t steps, const uint64_t* matrices) {
    for (int power = 0; steps >> power; ++power)
        if (steps >> power & 1)
            for (int each = 0; each < COMPONENTS; ++each)
                state[each] = apply(matrices + (each * POWERS + power) * WORD, state[each]);
}

// A positive integer below 2**52 as a float64 has its bit length + 1022 in front of what follows its leading one.
constexpr int MANTISSA = 52, BIAS = 1022;

inline uint64_t float_bits(uint64_t word) {
    constexpr uint64_t UNITS = 0x4330000000000000u;  // 2**52, whose last place is 1
    double value, units;
    word |= UNITS;
    std::memcpy(&value, &word, 8);
    std::memcpy(&units, &UNITS, 8);
    value -= units;
    std::memcpy(&word, &value, 8);
    return word;
}

constexpr uint64_t low(int bits) { return (uint64_t(1) << bits) - 1; }

inline uint64_t round_shift(uint64_t value, uint64_t shift) { return ((value >> (shift - 1)) + 1) >> 1; }

// A row holds the base in its lower half and the slope in its upper one.
template <int REST>
inline uint64_t interpolate(const uint64_t* table, uint64_t index, uint64_t rest) {
    const uint64_t row = table[index];
    return (row & low(32)) + round_shift((row >> 32) * (2 * rest + 1), REST + 1);
}

inline uint64_t negate_if(uint64_t sign, uint64_t value) { return (value ^ (0 - sign)) + sign; }

struct BoxMuller {
    using Sample = uint32_t;  // two samples, the first in the lower half: little-endian like all of quietbar
    const uint64_t *logarithm, *root, *sine, *octaves;

    uint64_t radius(uint64_t draw) const {
        constexpr int REST = MANTISSA - LOGARITHM_INDEX_BITS - LOGARITHM_REST_BITS;
        const uint64_t pattern = float_bits(draw >> (WORD - RADIUS_BITS) | 1);
        const uint64_t length = (pattern >> MANTISSA) - BIAS;
        const uint64_t fall = interpolate<LOGARITHM_REST_BITS>(
            logarithm, pattern >> (MANTISSA - LOGARITHM_INDEX_BITS) & low(LOGARITHM_INDEX_BITS),
            pattern >> REST & low(LOGARITHM_REST_BITS));
        const int64_t difference = static_cast<int64_t>(octaves[length] - fall);
        const uint64_t exponent = difference < 1 ? 1 : difference;
        const uint64_t pairs = (32 + BIAS - (float_bits(exponent) >> MANTISSA)) >> 1;
        const uint64_t normalized = exponent << (2 * pairs);
        return round_shift(
            interpolate<ROOT_REST_BITS>(root, normalized >> (32 - ROOT_INDEX_BITS),
                                        normalized >> (32 - ROOT_INDEX_BITS - ROOT_REST_BITS) & low(ROOT_REST_BITS)),
            pairs + 1);
    }

    uint64_t wave(uint64_t angle) const {
        return interpolate<SINE_REST_BITS>(sine, angle >> SINE_REST_BITS, angle & low(SINE_REST_BITS));
    }

    Sample operator()(uint64_t draw) const {
        const uint64_t length = radius(draw), angle = draw & low(ANGLE_BITS);
        const uint64_t first = round_shift(length * wave(angle ^ low(ANGLE_BITS)), PRODUCT_SHIFT);
        const uint64_t second = round_shift(length * wave(angle), PRODUCT_SHIFT);
        return static_cast<Sample>((negate_if(draw >> SIGN_OF_FIRST_BIT & 1, first) & low(16)) |
                                   negate_if(draw >> SIGN_OF_SECOND_BIT & 1, second) << 16);
    }
};

struct InverseCdf {
    using Sample = int16_t;
    const uint64_t* rows;  // by bit length of the octave's word, and segment: base, slope and curve from below

    Sample operator()(uint64_t draw) const {
        const int64_t pattern = static_cast<int64_t>(float_bits(draw >> (SIGN_BIT + 1)) >> MANTISSA);
        const int64_t length = pattern < BIAS ? 0 : pattern - BIAS;
        const uint64_t row = rows[length << FINE_BITS | (draw >> PLACE_BITS & low(FINE_BITS))];
        const int64_t place = static_cast<int64_t>(2 * (draw & low(PLACE_BITS)) + 1) - (int64_t(1) << PLACE_BITS);
        int64_t value = static_cast<int64_t>(row >> (BASE_BITS + SLOPE_BITS)) * place >> CURVE_SHIFT;
        value += static_cast<int64_t>(row >> BASE_BITS & low(SLOPE_BITS));
        value = (value * place >> SLOPE_SHIFT) + static_cast<int64_t>(row & low(BASE_BITS));
        return static_cast<Sample>(negate_if(draw >> SIGN_BIT & 1, static_cast<uint64_t>(value >> MAGNITUDE_SHIFT)));
    }
};

// The samples of `draws` draws from number `start` on. Each lane goes along one run of a unit.
template <int COMPONENTS, typename Source>
void generate(void* to, int64_t draws, const uint64_t* seed_state, uint64_t start, const Component* components,
              const uint64_t* matrices, const Source& source, int threads) {
    using Sample = typename Source::Sample;
    const int64_t units = (draws + UNIT - 1) / UNIT;
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, units))))
    for (int64_t unit = 0; unit < units; ++unit) {
        alignas(64) uint64_t states[COMPONENTS][LANES], drawn[STEPS * LANES];
        alignas(64) Sample samples[STEPS * LANES];
        const int64_t count = std::min(draws - unit * UNIT, UNIT), run = (count + LANES - 1) / LANES;
        uint64_t origin[COMPONENTS];
        std::copy(seed_state, seed_state + COMPONENTS, origin);
        leap<COMPONENTS>(origin, start + unit * UNIT, matrices);
        for (int lane = 0; lane < LANES; ++lane) {
            for (int each = 0; each < COMPONENTS; ++each) states[each][lane] = origin[each];
            leap<COMPONENTS>(origin, run, matrices);
        }
        for (int64_t first = 0; first < run; first += STEPS) {
            const int64_t steps = std::min(run - first, STEPS);
            for (int64_t place = 0; place < steps * LANES; place += LANES)
                for (int lane = 0; lane < LANES; ++lane) {
                    uint64_t word = 0;
                    for (int each = 0; each < COMPONENTS; ++each)
                        word ^= states[each][lane] = step(components[each], states[each][lane]);
                    drawn[place + lane] = word;
                }
            for (int64_t place = 0; place < steps * LANES; ++place) samples[place] = source(drawn[place]);
            for (int lane = 0; lane < LANES; ++lane) {
                const int64_t at = lane * run + first, kept = std::min(steps, count - at);
                auto* target = static_cast<unsigned char*>(to) + (unit * UNIT + at) * sizeof(Sample);
                for (int64_t place = 0; place < kept; ++place)
                    std::memcpy(target + place * sizeof(Sample), &samples[place * LANES + lane], sizeof(Sample));
            }
        }
    }
}

}  // namespace

// matrices[component][power][bit]: what 2**power steps make of the word with that bit alone.
extern "C" void leap_matrices(const Component* components, int64_t count, uint64_t* matrices) {
    for (int64_t each = 0; each < count; ++each, matrices += POWERS * WORD) {
        for (int bit = 0; bit < WORD; ++bit) matrices[bit] = step(components[each], uint64_t(1) << bit);
        for (int place = WORD; place < POWERS * WORD; ++place)
            matrices[place] = apply(matrices + place / WORD * WORD - WORD, matrices[place - WORD]);
    }
}

extern "C" void box_muller(int16_t* to, int64_t draws, const uint64_t* seed_state, uint64_t start,
                           const Component* components, const uint64_t* matrices, const uint64_t* logarithm,
                           const uint64_t* root, const uint64_t* sine, const uint64_t* octaves, int threads) {
    generate<BOX_MULLER_COMPONENTS>(to, draws, seed_state, start, components, matrices,
                                    BoxMuller{logarithm, root, sine, octaves}, threads);
}

extern "C" void inverse_cdf(int16_t* to, int64_t draws, const uint64_t* seed_state, uint64_t start,
                            const Component* components, const uint64_t* matrices, const uint64_t* rows, int threads) {
    generate<INVERSE_CDF_COMPONENTS>(to, draws, seed_state, start, components, matrices, InverseCdf{rows}, threads);
}
