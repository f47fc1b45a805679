// A host's end of a serial line to a design with ports clk, rst, rx and tx: what a USB adapter does, bit by bit.
//
// Bits of the host last `period` cycles of the design's clock, a number that needs not be whole: so the two clocks can
// differ as real ones do. The Python side is quietbar_cosim/serial_line.py.

#include <cstdint>
#include <deque>
#include <memory>

#include "ports.h"
#include "verilated.h"

namespace {

constexpr int BITS = 10;  // a start bit, eight of data, the low one first, a stop bit

class Line {
  public:
    Line() : context_(std::make_unique<VerilatedContext>()), top_(std::make_unique<Vtop>(context_.get())) {
        top_->rx = 1;
        top_->rst = 1;
        for (int cycle = 0; cycle < 3; ++cycle) step();
        top_->rst = 0;
    }
    ~Line() { top_->final(); }

    // Queues bytes; where `spoilt` says so the stop bit is left out.
    void send(const uint8_t* bytes, const uint8_t* spoilt, uint64_t count) {
        for (uint64_t at = 0; at < count; ++at) waiting_.push_back(bytes[at] << 1 | (spoilt[at] ? 0 : 1 << 9));
    }

    // Runs until `wanted` bytes are there or nothing has moved on either line for `patience` cycles; how many there are.
    uint64_t receive(uint8_t* bytes, uint64_t wanted, double period, uint64_t patience) {
        uint64_t quiet = 0;
        while (received_.size() < wanted && quiet < patience) {
            drive(period);
            step();
            const bool listening = listen(period);
            quiet = sending_ || listening ? 0 : quiet + 1;
        }
        uint64_t count = 0;
        for (; count < wanted && !received_.empty(); ++count) {
            bytes[count] = received_.front();
            received_.pop_front();
        }
        return count;
    }

    uint64_t cycle() const { return cycle_; }
    uint64_t spoilt() const { return spoilt_; }

  private:
    void step() {
        top_->clk = 0;
        top_->eval();
        top_->clk = 1;
        top_->eval();
        ++cycle_;
    }

    void drive(double period) {
        if (sending_ && double(cycle_) >= sent_at_ + BITS * period) {
            sending_ = false;
            sent_at_ += BITS * period;
        }
        if (!sending_ && !waiting_.empty()) {
            // A byte begins where the one before ended, not at the next whole cycle.
            if (sent_at_ + period < double(cycle_)) sent_at_ = double(cycle_);
            frame_ = waiting_.front();
            waiting_.pop_front();
            sending_ = true;
        }
        const int bit = sending_ ? int((double(cycle_) - sent_at_) / period) : BITS;
        top_->rx = bit < 0 || bit >= BITS ? 1 : frame_ >> bit & 1;
    }

    // The middle of each bit is looked at, counted from the edge of the start bit. Whether a byte is under way.
    bool listen(double period) {
        const bool level = top_->tx;
        if (!receiving_) {
            if (level) return false;
            receiving_ = true;
            received_at_ = double(cycle_);
            bit_ = 0;
            byte_ = 0;
        }
        if (double(cycle_) < received_at_ + (bit_ + 0.5) * period) return true;
        if (bit_ == 0 && level) receiving_ = false;
        if (bit_ >= 1 && bit_ <= 8) byte_ |= level << (bit_ - 1);
        if (bit_ == BITS - 1) {
            receiving_ = false;
            spoilt_ += !level;
            received_.push_back(byte_);
        }
        ++bit_;
        return true;
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;
    std::deque<uint16_t> waiting_;
    std::deque<uint8_t> received_;
    uint64_t cycle_ = 0, spoilt_ = 0;
    bool sending_ = false, receiving_ = false;
    double sent_at_ = -1e9, received_at_ = 0;
    uint16_t frame_ = 0;
    uint8_t byte_ = 0;
    int bit_ = 0;
};

}  // namespace

extern "C" {

void* line_open() { return new Line; }

void line_close(void* line) { delete static_cast<Line*>(line); }

void line_send(void* line, const uint8_t* bytes, const uint8_t* spoilt, uint64_t count) {
    static_cast<Line*>(line)->send(bytes, spoilt, count);
}

uint64_t line_receive(void* line, uint8_t* bytes, uint64_t wanted, double period, uint64_t patience) {
    return static_cast<Line*>(line)->receive(bytes, wanted, period, patience);
}

uint64_t line_cycle(void* line) { return static_cast<Line*>(line)->cycle(); }

uint64_t line_spoilt(void* line) { return static_cast<Line*>(line)->spoilt(); }

}
