// The bulk runner: drives one design from buffers and captures what it answers, with no Python in the clock loop.
//
// The design has streams s_axis_cfg (configuration), s_axis (input) and m_axis (output), any of which may be missing, a
// clock `clk`, a synchronous reset `rst`, and maybe an output `error` and an AXI4-Lite port s_axil. Streams may have
// tlast, tid and, an output of frames, tuser, which marks bad ones on their last beat. A design with planted faults has an
// input `fault`, which says which of them it has. ports.h, written at build time, says what there is.
// Each cycle: the outputs settle with the clock low, both ends look at them, the clock rises, both ends drive anew.
// The Python side is quietbar_cosim/bulk.py; the structures below are mirrored there, field by field.

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "ports.h"
#include "verilated.h"
#if HAS_COVERAGE
#include "verilated_cov.h"
#endif

namespace {

// ---- stall patterns: the same as quietbar_cosim/stalls.py ----

enum StallKind : uint32_t { NEVER = 0, RANDOM = 1, BURSTY = 2, PATIENT = 3 };
constexpr uint64_t LONGEST_BURST_EXPONENT = 6;

struct StallPattern {
    uint32_t kind;
    uint32_t threshold;
    uint64_t seed;
};

class Stalls {
  public:
    explicit Stalls(const StallPattern& pattern) : pattern_(pattern), state_(pattern.seed) {}

    bool next() {
        if (pattern_.kind == RANDOM) return word() >> 32 < pattern_.threshold;
        if (pattern_.kind != BURSTY) return false;
        if (left_ == 0) {
            left_ = uint64_t(1) << ((word() >> 32) % LONGEST_BURST_EXPONENT);
            stalled_ = !stalled_;
        }
        --left_;
        return stalled_;
    }

    bool patient() const { return pattern_.kind == PATIENT; }

  private:
    uint64_t word() {  // SplitMix64
        state_ += 0x9E3779B97F4A7C15u;
        uint64_t word = (state_ ^ (state_ >> 30)) * 0xBF58476D1CE4E5B9u;
        word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
        return word ^ (word >> 31);
    }

    StallPattern pattern_;
    uint64_t state_;
    uint64_t left_ = 0;
    bool stalled_ = false;
};

// ---- ports of any width, as bytes, low byte first (Verilator runs on little-endian machines here) ----

template <typename Signal>
void put(Signal& signal, const uint8_t* bytes, size_t count) {
    Signal value{};
    std::memcpy(&value, bytes, count);
    signal = value;
}

template <typename Signal>
void get(const Signal& signal, uint8_t* bytes, size_t count) {
    std::memcpy(bytes, &signal, count);
}

// ---- the interface ----

enum Status : uint32_t {
    FINISHED = 0,
    NO_PROGRESS = 1,
    ERROR_RAISED = 2,
    VALID_FELL = 3,
    DATA_CHANGED = 4,
    LAST_CHANGED = 5,
    LAST_WRONG = 6,
    SURPLUS = 7,
    BAD_FRAME = 8,
    ID_WRONG = 9,
};

constexpr uint32_t NO_ANSWER = 0xFF;  // in place of an AXI response

}  // namespace

extern "C" {

struct Request {
    const uint8_t* configuration;        // beats of CONFIGURATION_BYTES
    const uint8_t* configuration_last;   // one byte a beat
    uint64_t configuration_beats;
    const uint8_t* input;                // beats of INPUT_BYTES
    uint64_t input_beats;
    uint64_t input_frame_beats;
    uint8_t* output;                     // room for output_beats of OUTPUT_BYTES
    uint64_t output_beats;
    uint64_t output_frame_beats;         // 0: tlast is not checked
    StallPattern input_stalls;
    StallPattern output_stalls;
    uint64_t patience;                   // cycles without a transfer after which to give up
    uint64_t reset_cycles;               // 0: go on from where the last run ended
    uint64_t drain_cycles;               // in which no further beat may come
    uint64_t id;                         // tid of all beats, in and out
};

struct Access {                          // of the AXI4-Lite port
    uint32_t address;
    uint32_t data;                       // to write; what was read
    uint32_t write;
    uint32_t response;
};

struct Outcome {
    uint32_t status;
    uint32_t phase;                      // 0 configuration, 1 data
    uint64_t cycle;                      // of the data phase (of the configuration, in phase 0), where the run ended
    uint64_t configuration_cycles;
    uint64_t cycles;                     // from the start of the data phase to the last output beat, inclusive
    uint64_t configuration_taken;
    uint64_t input_taken;
    uint64_t output_taken;
    uint64_t error;                      // the port's value where it was raised
};

}

namespace {

class Simulator {
  public:
    Simulator() : context_(std::make_unique<VerilatedContext>()), top_(std::make_unique<Vtop>(context_.get())) {}
    ~Simulator() { top_->final(); }

    void plant([[maybe_unused]] uint32_t fault) {
#if HAS_FAULT
        top_->fault = fault;
#endif
    }

    void run(const Request& request, Outcome& outcome) {
        outcome = Outcome{};
        if (request.reset_cycles) reset(request.reset_cycles);
        if (configure(request, outcome)) stream(request, outcome);
    }

    // Writes what the run covered, where the model was built to count it.
    void write_coverage([[maybe_unused]] const char* path) {
#if HAS_COVERAGE
        context_->coveragep()->write(path);
#endif
    }

    // Accesses one after the other up to the first that is refused or not answered; how many were fine.
    uint64_t access(Access* accesses, uint64_t count, uint64_t patience) {
        for (uint64_t number = 0; number < count; ++number) {
            accesses[number].response = access(accesses[number], patience);
            if (accesses[number].response) return number;
        }
        return count;
    }

    // The yardstick of this runner's speed: nothing but the model, its input, and its output. Cycles that it took.
    uint64_t bare(const Request& request) {
        uint64_t cycles = 0;
#if HAS_INPUT && HAS_OUTPUT
        uint64_t taken = 0, left = 0;
        top_->m_axis_tready = 1;
        while (left < request.output_beats && cycles < request.patience) {
            top_->s_axis_tvalid = taken < request.input_beats;
            if (taken < request.input_beats) {
                put(top_->s_axis_tdata, request.input + taken * INPUT_BYTES, INPUT_BYTES);
#if HAS_INPUT_LAST
                top_->s_axis_tlast = (taken + 1) % request.input_frame_beats == 0;
#endif
            }
            settle();
            taken += top_->s_axis_tvalid && top_->s_axis_tready;
            if (top_->m_axis_tvalid) get(top_->m_axis_tdata, request.output + left++ * OUTPUT_BYTES, OUTPUT_BYTES);
            edge();
            ++cycles;
        }
        idle();
#endif
        return cycles;
    }

  private:
    uint32_t access(Access& access, uint64_t patience) {
#if HAS_REGISTERS
        const uint32_t word = access.data;
        top_->s_axil_wstrb = 0xF;
        top_->s_axil_bready = top_->s_axil_rready = 1;
        bool address = access.write, data = access.write, reading = !access.write;
        for (uint64_t cycle = 0; cycle < patience; ++cycle) {
            top_->s_axil_awvalid = address;
            top_->s_axil_wvalid = data;
            top_->s_axil_arvalid = reading;
            // While an address or a word is not offered, its inverse, so that nobody may look at it.
            top_->s_axil_awaddr = (address ? access.address : ~access.address) & ADDRESS_MASK;
            top_->s_axil_araddr = (reading ? access.address : ~access.address) & ADDRESS_MASK;
            top_->s_axil_wdata = data ? word : ~word;
            settle();
            address &= !top_->s_axil_awready;
            data &= !top_->s_axil_wready;
            reading &= !top_->s_axil_arready;
            const bool written = top_->s_axil_bvalid, read = top_->s_axil_rvalid;
            const uint32_t response = access.write ? top_->s_axil_bresp : top_->s_axil_rresp;
            if (read) access.data = top_->s_axil_rdata;
            edge();
            if (access.write ? written : read) return response;
        }
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 0;
        top_->s_axil_bready = top_->s_axil_rready = 0;
#endif
        return NO_ANSWER;
    }

    void settle() {
        top_->clk = 0;
        top_->eval();
    }

    void edge() {
        top_->clk = 1;
        top_->eval();
    }

    void reset(uint64_t cycles) {
        idle();
        top_->rst = 1;
        for (uint64_t cycle = 0; cycle < cycles; ++cycle) {
            settle();
            edge();
        }
        top_->rst = 0;
    }

    void idle() {
#if HAS_INPUT
        top_->s_axis_tvalid = 0;
#endif
#if HAS_CONFIGURATION
        top_->s_axis_cfg_tvalid = 0;
#endif
#if HAS_OUTPUT
        top_->m_axis_tready = 0;
#endif
    }

    uint64_t error() const {
#if HAS_ERROR
        return top_->error;
#else
        return 0;
#endif
    }

    // Sends the configuration words, with the gaps of the input; true when all were taken.
    bool configure(const Request& request, Outcome& outcome) {
#if HAS_CONFIGURATION
        Stalls stalls(request.input_stalls);
        uint64_t waited = 0;
        bool offering = false;
        while (outcome.configuration_taken < request.configuration_beats) {
            const bool stalled = stalls.next();
            offering |= !stalled;
            offer_word(request, outcome.configuration_taken, offering);
            settle();
            const bool taken = offering && top_->s_axis_cfg_tready, failed = outcome.error = error();
            edge();
            outcome.cycle = outcome.configuration_cycles++;
            outcome.configuration_taken += taken;
            offering &= !taken;
            waited = taken ? 0 : waited + 1;
            if (failed || waited > request.patience) {
                outcome.status = failed ? ERROR_RAISED : NO_PROGRESS;
                return false;
            }
        }
        top_->s_axis_cfg_tvalid = 0;
#endif
        return true;
    }

#if HAS_CONFIGURATION
    // Drives one word of the configuration; while none is offered, its inverse, so that nobody may look at it.
    void offer_word(const Request& request, uint64_t beat, bool offering) {
        uint8_t bytes[CONFIGURATION_BYTES];
        for (size_t byte = 0; byte < CONFIGURATION_BYTES; ++byte) {
            const uint8_t value = request.configuration[beat * CONFIGURATION_BYTES + byte];
            bytes[byte] = offering ? value : ~value;
        }
        bytes[CONFIGURATION_BYTES - 1] &= CONFIGURATION_TOP_MASK;
        top_->s_axis_cfg_tvalid = offering;
        put(top_->s_axis_cfg_tdata, bytes, CONFIGURATION_BYTES);
#if HAS_CONFIGURATION_LAST
        top_->s_axis_cfg_tlast = bool(request.configuration_last[beat]) == offering;
#endif
    }
#endif

    // Sends the input and takes the output, both ends stalling as asked.
    void stream(const Request& request, Outcome& outcome) {
        outcome.phase = 1;
#if HAS_INPUT_ID
        top_->s_axis_tid = request.id;
#endif
        Stalls input_stalls(request.input_stalls), output_stalls(request.output_stalls);
        bool offering = false, taking = false, waiting = false, waiting_last = false;
        uint8_t data[OUTPUT_BYTES], waiting_data[OUTPUT_BYTES];
        uint64_t idle_cycles = 0, drained = 0;

        for (outcome.cycle = 0;; ++outcome.cycle) {
            const bool complete = outcome.output_taken == request.output_beats;
            if (complete && outcome.input_taken == request.input_beats && drained++ == request.drain_cycles) break;

            settle();
            const bool failed = outcome.error = error();
            bool moved = false, seen_valid = false;
#if HAS_INPUT
            if (offering && top_->s_axis_tready) {
                ++outcome.input_taken;
                offering = false;
                moved = true;
            }
#endif
#if HAS_OUTPUT
            const bool valid = top_->m_axis_tvalid;
            seen_valid = valid;
            if (valid) {
                get(top_->m_axis_tdata, data, OUTPUT_BYTES);
                bool last = false;
#if HAS_OUTPUT_LAST
                last = top_->m_axis_tlast;
                if (request.output_frame_beats) {
                    const uint64_t position = outcome.output_taken % request.output_frame_beats;
                    if (last != (position == request.output_frame_beats - 1)) return fail(outcome, LAST_WRONG);
                }
#endif
#if HAS_OUTPUT_ID
                if (top_->m_axis_tid != request.id) return fail(outcome, ID_WRONG);
#endif
#if HAS_OUTPUT_USER && HAS_OUTPUT_LAST
                if (last && top_->m_axis_tuser) return fail(outcome, BAD_FRAME);
#endif
                if (waiting && std::memcmp(data, waiting_data, OUTPUT_BYTES)) return fail(outcome, DATA_CHANGED);
                if (waiting && last != waiting_last) return fail(outcome, LAST_CHANGED);
                if (taking) {
                    if (complete) return fail(outcome, SURPLUS);
                    std::memcpy(request.output + outcome.output_taken * OUTPUT_BYTES, data, OUTPUT_BYTES);
                    if (++outcome.output_taken == request.output_beats) outcome.cycles = outcome.cycle + 1;
                    moved = true;
                } else {
                    std::memcpy(waiting_data, data, OUTPUT_BYTES);
                    waiting_last = last;
                }
            } else if (waiting) {
                return fail(outcome, VALID_FELL);
            }
            waiting = valid && !taking;
#endif
            edge();
            if (failed) return fail(outcome, ERROR_RAISED);
            idle_cycles = moved ? 0 : idle_cycles + 1;
            if (idle_cycles > request.patience) return fail(outcome, NO_PROGRESS);

            const bool input_stalled = input_stalls.next(), output_stalled = output_stalls.next();
#if HAS_INPUT
            if (!offering) {
                offering = outcome.input_taken < request.input_beats && !input_stalled;
                offer(request, outcome.input_taken, offering);
            }
#endif
#if HAS_OUTPUT
            taking = output_stalls.patient() ? seen_valid && !taking : !output_stalled;
            top_->m_axis_tready = taking;
#endif
        }
        idle();
    }

#if HAS_INPUT
    // Drives one input beat; while none is offered, the inverse of the last one, so that nobody may look at it.
    void offer(const Request& request, uint64_t beat, bool offering) {
        top_->s_axis_tvalid = offering;
        uint8_t bytes[INPUT_BYTES] = {};
        if (offering) {
            std::memcpy(bytes, request.input + beat * INPUT_BYTES, INPUT_BYTES);
        } else if (beat) {
            const uint8_t* last = request.input + (beat - 1) * INPUT_BYTES;
            for (size_t byte = 0; byte < INPUT_BYTES; ++byte) bytes[byte] = ~last[byte];
            bytes[INPUT_BYTES - 1] &= INPUT_TOP_MASK;
        }
        put(top_->s_axis_tdata, bytes, INPUT_BYTES);
#if HAS_INPUT_LAST
        const uint64_t next = offering ? beat + 1 : beat;
        const bool last = next && next % request.input_frame_beats == 0;
        top_->s_axis_tlast = offering ? last : !last;
#endif
    }
#endif

    void fail(Outcome& outcome, Status status) {
        outcome.status = status;
        idle();
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;
};

}  // namespace

extern "C" {

void* quietbar_open() { return new Simulator; }

void quietbar_close(void* simulator) { delete static_cast<Simulator*>(simulator); }

void quietbar_plant(void* simulator, uint32_t fault) { static_cast<Simulator*>(simulator)->plant(fault); }

void quietbar_write_coverage(void* simulator, const char* path) {
    static_cast<Simulator*>(simulator)->write_coverage(path);
}

void quietbar_run(void* simulator, const Request* request, Outcome* outcome) {
    static_cast<Simulator*>(simulator)->run(*request, *outcome);
}

uint64_t quietbar_access(void* simulator, Access* accesses, uint64_t count, uint64_t patience) {
    return static_cast<Simulator*>(simulator)->access(accesses, count, patience);
}

uint64_t quietbar_bare(void* simulator, const Request* request) {
    return static_cast<Simulator*>(simulator)->bare(*request);
}

}
