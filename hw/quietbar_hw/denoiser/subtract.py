"""The end of a block: noise from its mean, deviation and a sample, taken from the activations."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import SIGMA, BlockConfig
from quietbar.contract.block import LOG_SIGMA, SIGMA_BITS
from quietbar.contract.gaussian import SAMPLE

from ..arithmetic import shape_of
from ..stream import Queue, ResultQueue, delay


def noise_latency(config: BlockConfig) -> int:
    """Cycles until ``n`` is there: inputs taken in; where there is a sample sigma, its register, product and sum."""
    return 4 if config.mode == "sampling" else 1


def subtract_latency(config: BlockConfig) -> int:
    """Cycles from the inputs to the result: ``n``, difference, clamp, queue."""
    return noise_latency(config) + 2 + Queue.LATENCY


def subtract_capacity(config: BlockConfig) -> int:
    """Transfers that can be under way."""
    return ResultQueue.credit(subtract_latency(config) - Queue.LATENCY)


class Subtract(wiring.Component):
    """``out = clamp(round_shift((a << f) - n, f))`` with ``n = mu + round_shift(SIGMA[ell] * eps, noise_shift)``.

    In mean mode ``n = mu``, and the inputs ``log_sigma`` and ``noise`` and their hardware are not there.

    Timing: a transfer every cycle; it needs one transfer of every input, and takes them in the same cycle. Results
    leave `latency` cycles later.

    Members:
        activations: In(stream of ``lanes`` activations), ``a``.
        mean: In(stream of ``lanes`` means), ``mu``.
        log_sigma: In(stream of ``lanes`` indices into ``SIGMA``), ``ell``.
        noise: In(stream of ``lanes`` samples), ``eps``.
        o: Out(stream of ``lanes`` activations).
    """

    def __init__(self, config: BlockConfig, lanes: int) -> None:
        self.config, self.lanes = config, lanes
        self.sampling = config.mode == "sampling"
        self.latency = subtract_latency(config)
        formats = {"activations": config.activation, "mean": config.mean_format}
        if self.sampling:
            formats |= {"log_sigma": LOG_SIGMA, "noise": SAMPLE}
        self.inputs = tuple(formats)
        members = {
            name: In(stream.Signature(data.ArrayLayout(shape_of(number), lanes))) for name, number in formats.items()
        }
        super().__init__({**members, "o": Out(stream.Signature(data.ArrayLayout(shape_of(config.activation), lanes)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.results = results = ResultQueue(self.o.payload.shape(), subtract_capacity(self.config))
        wiring.connect(m, results.o, wiring.flipped(self.o))
        inputs = [getattr(self, name) for name in self.inputs]
        going = Signal()
        m.d.comb += [
            going.eq(results.room & Cat(port.valid for port in inputs).all()),
            results.launch.eq(going),
            results.arrivals.valid.eq(delay(m, going, self.latency - Queue.LATENCY, "going", reset_less=False)),
        ]
        m.d.comb += [port.ready.eq(going) for port in inputs]

        config = self.config
        fraction, activation = config.fraction_bits, config.activation
        activations = delay(m, self.activations.payload, noise_latency(self.config), "activations")
        noise = self._noise(m) if self.sampling else delay(m, self.mean.payload, 1, "mean")
        for lane in range(self.lanes):
            scaled = (activations[lane] << fraction) + (1 << (fraction - 1)) - noise[lane]
            difference = delay(m, scaled, 1, f"difference_{lane}")
            rounded = difference >> fraction
            limited = Mux(
                rounded > activation.high, activation.high, Mux(rounded < activation.low, activation.low, rounded)
            )
            result = Signal(shape_of(activation), name=f"result_{lane}", reset_less=True)
            m.d.sync += result.eq(limited)
            m.d.comb += results.arrivals.payload[lane].eq(result)
        return m

    def _noise(self, m: Module) -> list[Signal]:
        """``n`` of each lane, four cycles after its inputs."""
        config, found = self.config, []
        m.submodules.sigma = rom = memory.Memory(shape=SIGMA_BITS, depth=len(SIGMA), init=SIGMA)
        means = delay(m, self.mean.payload, 3, "mean")
        samples = delay(m, self.noise.payload, 2, "sample")
        for lane in range(self.lanes):
            sigma = rom.read_port()
            m.d.comb += sigma.addr.eq(self.log_sigma.payload[lane])
            product = delay(m, delay(m, sigma.data, 1, f"sigma_{lane}") * samples[lane], 1, f"product_{lane}")
            noise = Signal(shape_of(config.noise_format), name=f"noise_{lane}", reset_less=True)
            half = 1 << (config.noise_shift - 1)
            m.d.sync += noise.eq(means[lane] + ((product + half) >> config.noise_shift))
            found.append(noise)
        return found
