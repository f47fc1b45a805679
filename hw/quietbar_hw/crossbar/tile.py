"""Crossbar tiles: programming, drift, column sums, read noise, converter, partial sums and scale, behind streams."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.drift import TIME
from quietbar.contract.gaussian import SAMPLE

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from ..gaussian import GaussianSource
from ..stream import Queue, Resize
from .column_sum import ColumnSum, current_layout
from .configuration import CONFIGURATION, ERROR_BITS, LOADED_BITS, Configuration, Error
from .converter import Converter
from .devices import Devices
from .folding import CrossbarFolding
from .partial_sums import PartialSums, Scaler, output_layout
from .placing import Placer
from .programming import Programmer
from .replay import Replay, input_layout

IN_FLIGHT_HIGH = 15
"""Vectors that can be under way at once: two in `Replay`, one a stage in the rest at the very most."""


class Crossbar(wiring.Component):
    """One tile, or several that use the same hardware in turn; equal to ``quietbar.integer.crossbar`` to the bit.

    Members:
        frames: In(stream of `CONFIGURATION`), see `Configuration`.
        inputs: In(stream of ``folding.input_lanes`` elements of `input_layout`): vectors of ``config.inputs`` codes.
        codes: Out(stream of ``folding.output_lanes`` elements of `output_layout`), ``config.outputs`` for each vector.
        error: Out, bits of `Error`, each set until reset.
        raised: Out, the same bits, each for the cycles in which it is caused.
        restart: In(1), pulse: vectors inside are dropped, the seed is forgotten; all else stays.
        ready: Out(1), everything is configured.
        loaded: Out, which kinds of frames are in effect.
        time: Out, the time step.
        clipped: Out(1), an ADC code at either end of its range leaves the converter.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        folding.check(config)
        self.config, self.folding = config, folding
        super().__init__(
            {
                "frames": In(stream.Signature(CONFIGURATION)),
                "inputs": In(stream.Signature(data.ArrayLayout(input_layout(config), folding.input_lanes))),
                "codes": Out(stream.Signature(data.ArrayLayout(output_layout(config), folding.output_lanes))),
                "error": Out(ERROR_BITS),
                "raised": Out(ERROR_BITS),
                "restart": In(1),
                "ready": Out(1),
                "loaded": Out(LOADED_BITS),
                "time": Out(TIME.bits),
                "clipped": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, folding = self.config, self.folding
        m.submodules.configuration = configuration = Configuration(config)
        m.submodules.source = source = GaussianSource(1)
        m.submodules.programmer = programmer = Programmer(config)
        m.submodules.placer = placer = Placer(config, folding)
        # What vectors pass through begins anew with a restart; memories keep what they hold.
        anew = ResetInserter(self.restart)
        replay, column_sum, converter = Replay(config, folding), ColumnSum(config, folding), Converter(config)
        m.submodules.replay, m.submodules.column_sum = anew(replay), anew(column_sum)
        m.submodules.converter = anew(converter)

        # Configuration: to the programmer, the converter, the source.
        wiring.connect(m, wiring.flipped(self.frames), configuration.frames)
        wiring.connect(m, configuration.weights, programmer.weights)
        wiring.connect(m, configuration.converter, converter.load)
        wiring.connect(m, configuration.source, source.load)
        wiring.connect(m, placer.write, column_sum.write)
        m.d.comb += [
            programmer.exponents.eq(configuration.exponents),
            placer.restart.eq(configuration.restart),
            configuration.converter_invalid.eq(converter.invalid),
        ]
        if config.drift or config.faults:
            self._keep_devices(m, configuration, programmer, placer)
        else:
            wiring.connect(m, programmer.pairs, placer.pairs)
            m.d.comb += configuration.programming.eq(programmer.busy)

        # Samples, one by one: to the programmer while it is busy, else to the converter.
        seeding = configuration.source.valid & configuration.source.payload.first
        samples = Resize(shape_of(SAMPLE), 2, 1)
        m.submodules.samples = ResetInserter(seeding | self.restart)(samples)
        wiring.connect(m, source.samples, samples.i)
        m.d.comb += [
            programmer.samples.payload.eq(samples.o.payload[0]),
            programmer.samples.valid.eq(samples.o.valid),
            converter.samples.payload.eq(samples.o.payload[0]),
            converter.samples.valid.eq(samples.o.valid),
            samples.o.ready.eq(programmer.samples.ready | converter.samples.ready),
        ]

        # Data: input codes, steps, groups of currents, single currents, codes.
        regrouped = Resize(input_layout(config), folding.input_lanes, folding.rows)
        groups = Queue(data.ArrayLayout(current_layout(config), folding.columns), 2)
        currents = Resize(current_layout(config), folding.columns, 1)
        codes = Resize(output_layout(config), 1, folding.output_lanes)
        m.submodules.regroup_inputs, m.submodules.groups = anew(regrouped), anew(groups)
        m.submodules.currents, m.submodules.regroup_codes = anew(currents), anew(codes)
        wiring.connect(m, regrouped.o, replay.inputs)
        wiring.connect(m, replay.steps, column_sum.steps)
        wiring.connect(m, column_sum.currents, groups.i)
        wiring.connect(m, groups.o, currents.i)
        m.d.comb += [
            converter.currents.payload.eq(currents.o.payload[0]),
            converter.currents.valid.eq(currents.o.valid),
            currents.o.ready.eq(converter.currents.ready),
        ]
        results = self._add_up_and_scale(m, configuration, converter.codes, anew)
        m.d.comb += [
            codes.i.payload[0].eq(results.payload),
            codes.i.valid.eq(results.valid),
            results.ready.eq(codes.i.ready),
        ]
        wiring.connect(m, codes.o, wiring.flipped(self.codes))

        accept = configuration.ready & ~configuration.pause
        m.d.comb += [
            regrouped.i.payload.eq(self.inputs.payload),
            regrouped.i.valid.eq(self.inputs.valid & accept),
            self.inputs.ready.eq(regrouped.i.ready & accept),
        ]
        self._follow_vectors(m, configuration, converter)
        return m

    def _keep_devices(self, m: Module, configuration: Configuration, programmer: Programmer, placer: Placer) -> None:
        """Conductances go to their places when programmed, and anew whenever time or faults change."""
        m.submodules.devices = devices = Devices(self.config)
        wiring.connect(m, programmer.pairs, devices.programmed)
        wiring.connect(m, configuration.faults, devices.faults)
        wiring.connect(m, devices.pairs, placer.pairs)
        m.d.comb += [
            devices.restart.eq(configuration.restart),
            devices.exponents.eq(configuration.exponents),
            devices.time.eq(configuration.time),
            devices.refresh.eq(configuration.refresh),
            devices.programming.eq(programmer.busy),
            configuration.programming.eq(programmer.busy | devices.busy),
        ]

    def _add_up_and_scale(self, m: Module, configuration: Configuration, codes: Any, anew: Any) -> Any:
        """What becomes of ADC codes: the stream of outputs, one by one."""
        if self.config.slices * self.config.row_tiles > 1:
            partial_sums = PartialSums(self.config)
            m.submodules.partial_sums = anew(partial_sums)
            wiring.connect(m, codes, partial_sums.codes)
            codes = partial_sums.sums
        if self.config.output != "sums":
            scaler = Scaler(self.config)
            m.submodules.scaler = anew(scaler)
            wiring.connect(m, configuration.scale, scaler.load)
            wiring.connect(m, codes, scaler.sums)
            m.d.comb += configuration.scale_invalid.eq(scaler.invalid)
            codes = scaler.outputs
        return codes

    def _follow_vectors(self, m: Module, configuration: Configuration, converter: Converter) -> None:
        """Count the vectors under way, and see that ``last`` comes with the end of one."""
        beats = self.config.inputs // self.folding.input_lanes
        beat, in_flight = Loop("beat", beats), Signal(range(IN_FLIGHT_HIGH + 1))
        taken = self.inputs.valid & self.inputs.ready
        entered = step_through(m, taken, beat)
        m.d.comb += configuration.converting.eq(in_flight != 0)
        m.d.sync += in_flight.eq(in_flight + entered - converter.vector_taken)
        with m.If(self.restart):
            m.d.sync += [in_flight.eq(0), beat.counter.eq(0)]
        seen = Mux(taken & self.inputs.payload[-1].last & ~entered, Error.VECTOR_LENGTH, 0)
        missing = Mux(self.inputs.valid & ~configuration.ready, Error.NOT_CONFIGURED, 0)
        m.d.comb += self.raised.eq(configuration.error | seen | missing)
        m.d.sync += self.error.eq(self.error | self.raised)
        code, adc = converter.codes.p.code, self.config.adc
        m.d.comb += [
            configuration.forget.eq(self.restart),
            self.ready.eq(configuration.ready),
            self.loaded.eq(configuration.loaded),
            self.time.eq(configuration.time),
            self.clipped.eq(converter.codes.valid & converter.codes.ready & ((code == adc.low) | (code == adc.high))),
        ]
