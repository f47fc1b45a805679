// A stream design small enough to be read, for testing those that test: m_axis = s_axis + addend. The configuration
// word holds the addend (low half) and a fault (high half), so that one build shows every way of breaking the rules.
module adder (
    input clk,
    input rst,
    input [15:0] s_axis_tdata,
    input s_axis_tvalid,
    output s_axis_tready,
    input s_axis_tlast,
    input [31:0] s_axis_cfg_tdata,
    input s_axis_cfg_tvalid,
    output s_axis_cfg_tready,
    input s_axis_cfg_tlast,
    output [15:0] m_axis_tdata,
    output m_axis_tvalid,
    input m_axis_tready,
    output m_axis_tlast,
    output error
);
    localparam DATA_MOVES = 1, VALID_FALLS = 2, LAST_EARLY = 3, HANGS = 4, SURPLUS = 5, WAITS_FOR_READY = 6,
               LOOKS_WHEN_IDLE = 7, RAISES_ERROR = 8, LAST_MOVES = 9, SLOW_AFTER_RESET = 10;

    reg [31:0] settings;
    wire [15:0] addend = settings[15:0];
    wire [15:0] fault = settings[31:16];
    reg [15:0] sum, previous;
    reg valid, last, slow, odd;
    reg [5:0] taken;

    wire stuck = fault == HANGS && taken == 40 || slow && odd;
    wire advance = !valid || m_axis_tready;
    wire repeated = fault == SURPLUS && valid && last;

    assign s_axis_tready = advance && !repeated && !stuck;
    assign s_axis_cfg_tready = 1;
    assign m_axis_tdata = sum;
    assign m_axis_tvalid = valid && !(fault == WAITS_FOR_READY && !m_axis_tready);
    assign m_axis_tlast = last;
    assign error = fault == RAISES_ERROR && taken == 40;

    always @(posedge clk) begin
        previous <= s_axis_tdata;
        odd <= !odd;
        if (s_axis_cfg_tvalid)
            settings <= s_axis_cfg_tdata;
        if (advance) begin
            if (repeated) begin
                last <= 0;
            end else begin
                valid <= s_axis_tvalid && !stuck;
                if (fault == LOOKS_WHEN_IDLE)
                    sum <= previous + addend;
                else
                    sum <= s_axis_tdata + addend;
                last <= fault == LAST_EARLY ? s_axis_tdata[2:0] == 6 : s_axis_tlast;
                if (s_axis_tvalid && taken != 40)
                    taken <= taken + 1;
            end
        end else if (valid) begin
            if (fault == DATA_MOVES)
                sum <= sum + 1;
            if (fault == LAST_MOVES)
                last <= !last;
            if (fault == VALID_FALLS)
                valid <= 0;
        end
        if (rst) begin
            valid <= 0;
            taken <= 0;
            settings <= 0;
            slow <= fault == SLOW_AFTER_RESET;
        end
    end
endmodule
